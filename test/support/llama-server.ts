/** llama.cpp’s server with a tiny model of chance: an OpenAI-compatible server of others. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './fixed.ts';
import { freePort } from './ports.ts';
import { eventually } from './programs.ts';

const GGUF = fileURLToPath(new URL('tiny_gguf.py', import.meta.url));
const PYTHON = process.env.OUTRIDER_GGUF_PYTHON ?? '.mlserver/bin/python';
const named = process.env.OUTRIDER_LLAMA_SERVER;

/** The program; undefined: there is none. */
export const llamaServer = named !== undefined && existsSync(named) ? named : undefined;
export const HOW_TO_GET_LLAMA_SERVER =
  'llama.cpp: build its llama-server, name it in OUTRIDER_LLAMA_SERVER, and a Python with gguf (pip install gguf==0.19.0) in OUTRIDER_GGUF_PYTHON';

const PATIENCE_MS = 60_000;

/** Ends with the test. @returns its address */
export async function startLlamaServer(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  const model = join(folder, 'tiny.gguf');
  execFileSync(PYTHON, [GGUF, model]);
  const port = await freePort();
  const child = spawn(
    llamaServer ?? 'llama-server',
    [
      ...['--model', model, '--alias', 'tiny', '--host', '127.0.0.1', '--port', String(port)],
      ...['--ctx-size', '256', '--threads', '1', '--no-warmup', '--jinja'],
    ],
    { stdio: 'ignore' },
  );
  t.after(() => child.kill('SIGTERM'));
  const url = `http://127.0.0.1:${port}`;
  const isReady = async (): Promise<boolean> =>
    (await fetch(`${url}/health`).catch(() => undefined))?.ok === true;
  await eventually(isReady, 'llama-server did not get ready', PATIENCE_MS);
  return url;
}
