/** The address that a request over HTTP comes from, as bounds by address know it. */
import { isIPv6 } from 'node:net';

/** What the server puts beside a request. */
interface Bindings {
  readonly incoming?: { readonly socket?: { readonly remoteAddress?: string | undefined } };
}

/**
 * The sender's address; of IPv6 its first 64 bits, of which one customer has at least one whole set (RFC 6177).
 *
 * @param env what the server has put there; empty where there is no socket, as in tests: then everybody is the same
 */
export function remoteAddress(env: unknown): string {
  const address = (env as Bindings | undefined)?.incoming?.socket?.remoteAddress ?? '';
  if (!isIPv6(address)) return address;
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (mapped !== undefined) return mapped;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const before = head.split(':').filter(Boolean);
  const after = tail?.split(':').filter(Boolean) ?? [];
  const groups = [
    ...before,
    ...Array.from({ length: 8 - before.length - after.length }, () => '0'),
    ...after,
  ];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
