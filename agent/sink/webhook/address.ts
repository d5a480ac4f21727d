/**
 * Which addresses a webhook may be at: public ones, unless private ones are meant. Checked for what a name resolves to, at each
 * connection, by the very look-up that the connection uses: a name that points elsewhere a moment later (DNS rebinding) gains nothing.
 */
import { type LookupAddress, lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { AppError } from '../../../shared/runtime/errors.ts';

/** Whether an IP address is of the public internet: not private, loopback, link-local, multicast, reserved, or one of those in IPv6 clothes. */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // `process` takes an IPv4 address out of its IPv6 form (RFC 4291 2.5.5.2).
  return ipaddr.process(address).range() === 'unicast';
}

const refused = (host: string, address: string): AppError =>
  new AppError(
    'ADDRESS_REFUSED',
    `${host === address ? address : `${host} is ${address}, which`} is not a public address`,
  );

/** @param host as a URL has it @throws ADDRESS_REFUSED for an address that is written out, of which no look-up is made */
export function refuseLiteral(host: string): void {
  const address = host.replace(/^\[(.*)\]$/, '$1');
  if (isIP(address) !== 0 && !isPublic(address)) throw refused(address, address);
}

/** Look-up for a connection that gives public addresses alone; one that is not among them fails it all. */
export const publicLookup: LookupFunction = (host, options, callback) => {
  lookup(host, { ...options, all: true }, (error, found) => {
    const addresses: LookupAddress[] = found ?? [];
    const [first] = addresses;
    const bad = addresses.find(({ address }) => !isPublic(address));
    if (error || !first) return callback(error ?? new AppError('NAME_UNRESOLVED'), '', 0);
    if (bad) return callback(refused(host, bad.address), '', 0);
    if (options.all) return callback(null, addresses);
    return callback(null, first.address, first.family);
  });
};
