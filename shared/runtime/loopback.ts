/** Plain text is for this machine: which hosts are loopback, and which URLs would send it further. */
import { isIPv4 } from 'node:net';

/** Whether a host, as a flag or a URL names it, is this machine and nothing else. */
export function isLoopback(host: string): boolean {
  const name = bare(host);
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}

/** Whether a host to listen on means every address of this machine. */
export const isWildcard = (host: string): boolean => ['0.0.0.0', '::', ''].includes(bare(host));

const SECURE: Readonly<Record<string, string>> = { 'mqtt:': 'mqtts', 'ws:': 'wss', 'http:': 'https' };

/** Why a URL is not to be used: it would send plain text over a network. @returns undefined when it would not */
export function plainTextProblem(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, host } = new URL(url);
  const secure = SECURE[protocol];
  if (secure === undefined || isLoopback(hostname)) return undefined;
  return `secrets would travel to ${host} in plain text: use ${secure}://, or ask for it with --insecure-plain-text`;
}

/** A host as it stands in a URL: IPv6 in brackets. */
export const urlHost = (host: string): string => (bare(host).includes(':') ? `[${bare(host)}]` : host);

/** A host to listen on, as sockets want it: IPv6 without the brackets that people may type. */
export const bareHost = (host: string): string => host.replace(/^\[(.*)\]$/, '$1');

const bare = (host: string): string => bareHost(host).toLowerCase();
