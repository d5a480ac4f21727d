/** `outrider login`, `outrider logout`: which hub commands talk to when none is named, kept for this user alone. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { AppError } from '../../shared/runtime/errors.ts';
import { HubClient, type HubOptions, readCa } from '../hub-client.ts';
import { loginPath, readLogin, removeLogin, writeLogin } from '../login-file.ts';
import { print } from '../output.ts';

type Options = Pick<HubOptions, 'hub' | 'key' | 'ca'> & { readonly json?: boolean };

/** Asks the hub with the key before it keeps either. @throws USAGE, UNAUTHORIZED, HUB_UNREACHABLE, HUB_UNTRUSTED, DISK_FULL */
export async function login(options: Options): Promise<void> {
  const url = options.hub ?? process.env.OUTRIDER_HUB;
  if (url === undefined) throw new AppError('USAGE', 'name the hub: outrider login --hub https://…');
  const key = options.key ?? process.env.OUTRIDER_KEY ?? (await askForKey());
  if (key === '')
    throw new AppError('USAGE', 'a key is needed: --key, OUTRIDER_KEY, or a line on standard input');
  const ca = await readCa(options.ca);
  const hub = new HubClient(url, key, ca === undefined ? {} : { ca });
  const { status } = await hub.ask('/api/v1/models');
  // A key of another scope is a key all the same.
  if (status !== 200 && status !== 403)
    throw new AppError(
      status === 401 ? 'UNAUTHORIZED' : 'HUB_FAILED',
      status === 401 ? `${hub.url} does not know this key` : `${hub.url} answered ${status}`,
    );
  await writeLogin({ url: hub.url, key, ...(ca !== undefined && { ca }) });
  print(options.json, { url: hub.url, path: loginPath() }, () =>
    [
      `Commands talk to ${hub.url} from now on, unless --hub or --data names another.`,
      `Kept in ${loginPath()}, for you alone.`,
    ].join('\n'),
  );
}

/** `outrider logout`: forgets the hub and its key, on this machine only. */
export async function logout(options: { readonly json?: boolean }): Promise<void> {
  const known = await readLogin().catch(() => undefined);
  await removeLogin();
  print(options.json, { url: known?.url ?? null }, () =>
    known ? `Logged out of ${known.url}.` : 'Nobody was logged in.',
  );
}

/** A line from standard input; on a terminal it is not shown. */
async function askForKey(): Promise<string> {
  const isTerminal = process.stdin.isTTY === true;
  if (isTerminal) process.stderr.write('Key of the hub: ');
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: isTerminal });
  try {
    for await (const line of lines) return line.trim();
    return '';
  } finally {
    lines.close();
    if (isTerminal) process.stderr.write('\n');
  }
}
