/** A real Home Assistant from PyPI, for `npm run test:peers`, set up by its own REST API. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder } from './fixed.ts';
import { freePort } from './ports.ts';
import { eventually } from './programs.ts';

/** Holds its virtual environment in `venv`; its first start installs into it what its integrations need. */
export const HOME_ASSISTANT = process.env.OUTRIDER_HOME_ASSISTANT ?? '.home-assistant';
const HASS = join(HOME_ASSISTANT, 'venv', 'bin', 'hass');
/** The last that Python 3.13 takes from PyPI without building anything large. */
const VERSION = '2025.4.4';

/** What is to be typed before there is one. */
export const HOW_TO_GET_IT = `Home Assistant in ${HOME_ASSISTANT} (OUTRIDER_HOME_ASSISTANT): python3.13 -m venv ${HOME_ASSISTANT}/venv && ${HOME_ASSISTANT}/venv/bin/pip install homeassistant==${VERSION} pycares==4.11.0 paho-mqtt==2.1.0`;

export const hasHomeAssistant = (): boolean => existsSync(HASS);

/** State of an entity, as its REST API gives it. */
export interface Entity {
  readonly entity_id: string;
  readonly state: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

export interface TestHomeAssistant {
  entities(): Promise<Entity[]>;
  get(path: string): Promise<Response>;
  call(service: string, data: object): Promise<number>;
  log(): string;
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** @param broker port on loopback of a broker that takes anybody */
export async function startHomeAssistant(t: TestContext, broker: number): Promise<TestHomeAssistant> {
  const folder = join(await temporaryFolder(t), 'config');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  await mkdir(folder);
  await writeFile(
    join(folder, 'configuration.yaml'),
    `http: { server_host: 127.0.0.1, server_port: ${port} }\napi:\nconfig:\nonboarding:\nlogger: { default: warning }\n`,
  );
  let child: ChildProcess | undefined;
  let text = '';
  const start = async (): Promise<void> => {
    child = spawn(HASS, ['-c', folder], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    // The first start installs what its integrations need.
    await eventually(
      () =>
        fetch(`${url}/api/onboarding`).then(
          ({ ok }) => ok,
          () => false,
        ),
      () => `Home Assistant did not start: ${text.slice(-2_000)}`,
      600_000,
    );
  };
  const stop = async (): Promise<void> => {
    const ended = new Promise((resolve) => child?.once('close', resolve));
    child?.kill('SIGTERM');
    if (child?.exitCode === null) await ended;
  };
  await start();
  t.after(stop);
  const ask = async (path: string, init: RequestInit): Promise<Record<string, string>> => {
    const response = await fetch(`${url}${path}`, init);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Record<string, string>;
  };
  const json = { 'content-type': 'application/json' };
  const user = { client_id: `${url}/`, name: 'Test', username: 'test', password: 'test1234', language: 'en' };
  const { auth_code: code = '' } = await ask('/api/onboarding/users', {
    ...{ method: 'POST', headers: json, body: JSON.stringify(user) },
  });
  const form = new URLSearchParams({ client_id: `${url}/`, grant_type: 'authorization_code', code });
  const { access_token } = await ask('/auth/token', { method: 'POST', body: form });
  const headers = { ...json, authorization: `Bearer ${access_token}` };
  const flows = '/api/config/config_entries/flow';
  const post = (path: string, body: object) =>
    ask(path, { method: 'POST', headers, body: JSON.stringify(body) });
  const { flow_id } = await post(flows, { handler: 'mqtt', show_advanced_options: false });
  await post(`${flows}/${flow_id}`, { broker: '127.0.0.1', port: broker });
  return {
    entities: async () => (await (await fetch(`${url}/api/states`, { headers })).json()) as Entity[],
    get: (path) => fetch(`${url}${path}`, { headers }),
    call: async (service, data) =>
      (await fetch(`${url}/api/services/${service}`, { method: 'POST', headers, body: JSON.stringify(data) }))
        .status,
    log: () => text,
    stop,
    start,
  };
}
