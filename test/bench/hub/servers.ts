/** The servers that are compared: the hub, and those of others, each a program of its own with one model. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { HubClient } from '../../../cli/hub-client.ts';
import { createdKey } from '../../../shared/contract/admin.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { programFile } from '../../../shared/runtime/installation.ts';
import { Lifecycle } from '../../../shared/runtime/lifecycle.ts';
import { tsxFlags } from '../../support/from-source.ts';
import { freePort } from '../../support/ports.ts';
import { inTree, workFolder } from '../harness.ts';
import { Program, until } from '../program.ts';
import { httpRequest } from './load.ts';
import type { Kind, Question } from './questions.ts';

/** A server that answers one question’s requests. */
export interface Server {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  readonly requests: readonly Uint8Array[];
  stop(): Promise<void>;
}

/** A hub as `outrider hub` starts it, with the bench’s models. */
export interface Hub {
  readonly pid: number;
  readonly url: string;
  readonly port: number;
  requestsOf(question: Question, key?: string, headers?: Readonly<Record<string, string>>): Uint8Array[];
  newKey(name: string): Promise<string>;
  /** Its metrics, by name with labels. */
  metrics(): Promise<ReadonlyMap<string, number>>;
  stop(): Promise<void>;
}

/** @param flags of `outrider hub`, beside folders and ports */
export async function startHub(questions: readonly Question[], flags: readonly string[] = []): Promise<Hub> {
  const work = await workFolder();
  const lifecycle = new Lifecycle((name, error) => console.error(`${name} did not stop`, error));
  const models = join(work.path, 'models');
  await mkdir(models);
  for (const { model, folder } of questions) await cp(folder, join(models, model), { recursive: true });
  const data = join(work.path, 'data');
  const args = ['--data', data, '--models', models, '--hub-port', '0', '--mqtt-port', '0', ...flags];
  const program = new Program(programFile('hub'), { args: [...args] });
  await lifecycle.start('hub', program);
  const { url } = z.object({ url: z.string() }).parse(program.facts);
  const client = await HubClient.find({ hub: url, data });
  const newKey = async (name: string): Promise<string> =>
    (await client.post('/api/v1/keys', { name, scopes: ['infer', 'metrics'] }, createdKey)).key;
  const first = await newKey('bench');
  return {
    pid: program.pid ?? 0,
    url,
    port: Number(new URL(url).port),
    requestsOf: ({ model, contentType, bodies }, key = first, headers = {}) =>
      bodies.map((body) =>
        httpRequest(`/hf/models/${model}`, body, {
          authorization: `Bearer ${key}`,
          'content-type': contentType,
          ...headers,
        }),
      ),
    newKey,
    async metrics() {
      const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${first}` } });
      return metricsOf(await response.text());
    },
    async stop() {
      await lifecycle.stop();
      await work.remove();
    },
  };
}

function metricsOf(text: string): ReadonlyMap<string, number> {
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

/** One that is to be compared; undefined where it is not installed, and said so. */
export interface Contestant {
  readonly name: string;
  readonly kinds: readonly Kind[];
  start(question: Question): Promise<Server>;
}

/** Python with the peer’s package in it, by these variables of the environment. */
const PYTHON = { litserve: 'OUTRIDER_LITSERVE_PYTHON', mlserver: 'OUTRIDER_MLSERVER_PYTHON' } as const;

/** The hub first; what is not there is said on the terminal. */
export function contestants(): Contestant[] {
  const cores = availableParallelism();
  const found: Contestant[] = [
    { name: 'hub', kinds: ['pictures', 'sentences', 'tokens'], start: (question) => startHubFor(question) },
    { name: 'transformers.js + Hono', kinds: ['pictures', 'sentences'], start: startTransformers },
  ];
  const litserve = process.env[PYTHON.litserve];
  if (litserve === undefined)
    console.log(`LitServe is left out: ${PYTHON.litserve} names no Python that has it.`);
  else
    for (const [name, flags] of [
      [`LitServe, ${cores} workers`, ['--workers', String(cores), '--threads', '1']],
      ['LitServe, batches of 16', ['--workers', '1', '--threads', String(cores), '--batch', '16']],
    ] as const)
      found.push({
        name,
        kinds: ['pictures', 'sentences'],
        start: (question) => startLitServe(litserve, name, question, flags),
      });
  const mlserver = process.env[PYTHON.mlserver];
  if (mlserver === undefined)
    console.log(`MLServer is left out: ${PYTHON.mlserver} names no Python that has it.`);
  else
    found.push({
      name: `MLServer, ${cores} workers`,
      kinds: ['pictures', 'sentences'],
      start: (question) => startMlServer(mlserver, question, cores),
    });
  return found;
}

async function startHubFor(question: Question): Promise<Server> {
  const hub = await startHub([question]);
  const { pid, port } = hub;
  return { name: 'hub', pid, port, requests: hub.requestsOf(question), stop: () => hub.stop() };
}

async function startTransformers(question: Question): Promise<Server> {
  const port = await freePort();
  const file = inTree('test/bench/hub/peers/transformers-server.ts');
  const args = [...tsxFlags(), file, question.kind, question.folder, String(port)];
  const headers = { 'content-type': question.contentType };
  return startForeign('transformers.js + Hono', {
    command: process.execPath,
    args,
    port,
    requests: question.bodies.map((body) => httpRequest('/predict', body, headers)),
  });
}

const asBase64 = (body: Uint8Array): string => Buffer.from(body).toString('base64');
const asText = (body: Uint8Array): string => Buffer.from(body).toString();
const JSON_TYPE = { 'content-type': 'application/json' };

async function startLitServe(
  python: string,
  name: string,
  { kind, folder, bodies }: Question,
  flags: readonly string[],
): Promise<Server> {
  const port = await freePort();
  const file = inTree('test/bench/hub/peers/litserve_server.py');
  const asked = (body: Uint8Array): object =>
    kind === 'pictures' ? { image: asBase64(body) } : { text: asText(body) };
  return startForeign(name, {
    command: python,
    args: [file, kind, folder, String(port), ...flags],
    port,
    requests: bodies.map((body) =>
      httpRequest('/predict', Buffer.from(JSON.stringify(asked(body))), JSON_TYPE),
    ),
  });
}

async function startMlServer(
  python: string,
  { kind, folder, bodies }: Question,
  workers: number,
): Promise<Server> {
  const work = await workFolder();
  const [port, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  const settings = {
    debug: false,
    host: '127.0.0.1',
    http_port: port,
    grpc_port: grpc,
    metrics_port: metrics,
    parallel_workers: workers,
  };
  await writeFile(join(work.path, 'settings.json'), JSON.stringify(settings));
  const model = { name: 'bench', implementation: 'mlserver_runtime.Graph' };
  await writeFile(join(work.path, 'model-settings.json'), JSON.stringify(model));
  await cp(inTree('test/bench/hub/peers/mlserver_runtime.py'), join(work.path, 'mlserver_runtime.py'));
  const asked = (body: Uint8Array): object => ({
    inputs: [
      {
        name: 'input',
        shape: [1, 1],
        datatype: 'BYTES',
        parameters: { content_type: 'str' },
        data: [kind === 'pictures' ? asBase64(body) : asText(body)],
      },
    ],
  });
  const server = await startForeign(`MLServer, ${workers} workers`, {
    command: python,
    args: ['-m', 'mlserver', 'start', work.path],
    cwd: work.path,
    env: { BENCH_KIND: kind, BENCH_FOLDER: folder, BENCH_THREADS: '1' },
    port,
    requests: bodies.map((body) =>
      httpRequest('/v2/models/bench/infer', Buffer.from(JSON.stringify(asked(body))), JSON_TYPE),
    ),
  });
  return {
    ...server,
    async stop() {
      await server.stop();
      await work.remove();
    },
  };
}

/** Starts a program and waits until it answers over HTTP. @throws CHILD_FAILED */
async function startForeign(
  name: string,
  o: {
    readonly command: string;
    readonly args: readonly string[];
    readonly cwd?: string;
    readonly env?: NodeJS.ProcessEnv;
    readonly port: number;
    readonly requests: readonly Uint8Array[];
  },
): Promise<Server> {
  // A group of its own, so that its workers end with it.
  const child: ChildProcess = spawn(o.command, [...o.args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
    env: { ...process.env, ...o.env },
    ...(o.cwd && { cwd: o.cwd }),
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await ended;
  };
  let isThere = false;
  const [first = new Uint8Array()] = o.requests;
  const body = Buffer.from(first);
  const from = body.indexOf('\r\n\r\n') + 4;
  const [line = '', ...headers] = body.toString('latin1', 0, from).trim().split('\r\n');
  const asked = {
    method: 'POST',
    headers: Object.fromEntries(headers.map((one) => one.split(': ') as [string, string])),
    body: body.subarray(from),
  };
  const look = async (): Promise<void> => {
    while (!isThere && child.exitCode === null) {
      isThere = await fetch(`http://127.0.0.1:${o.port}${line.split(' ')[1]}`, asked).then(
        ({ ok }) => ok,
        () => false,
      );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  void look();
  try {
    await until(() => isThere || child.exitCode !== null, `${name} did not answer`);
    if (!isThere) throw new AppError('CHILD_FAILED', `${name} ended with ${child.exitCode}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { name, pid: child.pid ?? 0, port: o.port, requests: o.requests, stop };
}
