/** A hub as a program of its own, with the tiny models of test/fixtures: for clients that others have written. */
import { cp, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { urlHost } from '../../shared/runtime/loopback.ts';
import { temporaryFolder } from './fixed.ts';
import { freePort } from './ports.ts';
import { eventually, outrider } from './programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));

export interface HubProgram {
  readonly url: string;
  /** Of its broker. */
  readonly mqttUrl: string;
  /** May everything. */
  readonly key: string;
  /** The hub's own folder. */
  readonly folder: string;
  output(): string;
  stop(): Promise<void>;
}

export interface HubProgramOptions {
  /** Of a hub that has run before: this one goes on with it. */
  readonly folder?: string;
  readonly args?: readonly string[];
  /** Where it listens, and its broker. */
  readonly host?: string;
  /** Model folders beside `colours` and `words`. */
  readonly models?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** Ready to answer for the models `colours` and `words` when it returns; ends with the test. */
export async function startHubProgram(
  t: TestContext,
  { folder: before, args = [], host = '127.0.0.1', models = [], env = {} }: HubProgramOptions = {},
): Promise<HubProgram> {
  const folder = before === undefined ? await temporaryFolder(t) : join(before, '..', '..');
  const [port, mqttPort] = [await freePort(), await freePort()];
  for (const model of [join(FIXTURES, 'colours'), join(FIXTURES, 'words'), ...models])
    await cp(model, join(folder, 'models', basename(model)), { recursive: true });
  const data = join(folder, 'data');
  const flags = [
    ...['hub', '--data', data, '--models', join(folder, 'models')],
    ...['--hub-port', String(port), '--mqtt-port', String(mqttPort)],
    ...['--hub-host', host, '--mqtt-host', host, ...args],
  ];
  const hub = outrider(t, flags, { env });
  await hub.says('admin key in');
  const url = `http://${urlHost(host)}:${port}`;
  await eventually(async () => (await fetch(`${url}/readyz`)).ok, 'the hub did not get ready');
  const key = (await readFile(join(data, 'hub', 'admin.key'), 'utf8')).trim();
  const stop = async (): Promise<void> => {
    hub.process.kill('SIGTERM');
    await hub.exited;
  };
  const mqttUrl = `mqtt://${urlHost(host)}:${mqttPort}`;
  return { url, mqttUrl, key, folder: join(data, 'hub'), output: hub.output, stop };
}
