/** Plain text is for this machine: which hosts are loopback, and which addresses would send it further. */
import { isIPv4 } from 'node:net';

/** Whether a host, as a flag or a URL names it, is this machine and nothing else. */
export function isLoopback(host: string): boolean {
  const name = bare(host);
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}

/** Whether a host to listen on means every address of this machine. */
export const isWildcard = (host: string): boolean => ['0.0.0.0', '::', ''].includes(bare(host));

/** Whether a valid URL would send plain text over a network. */
export function isPlainTextAbroad(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return ['mqtt:', 'ws:', 'http:'].includes(protocol) && !isLoopback(hostname);
}

/** A host as it stands in a URL: IPv6 in brackets. */
export const urlHost = (host: string): string => (bare(host).includes(':') ? `[${bare(host)}]` : host);

const bare = (host: string): string => host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
