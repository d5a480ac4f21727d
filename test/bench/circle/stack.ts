/** A hub and its agents as a user starts them, with everything that they write below one folder. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { freePort } from '../../support/ports.ts';
import type { Seen } from './field.ts';

const BIN = fileURLToPath(new URL('../../../bin/outrider.mjs', import.meta.url));
const START_TIMEOUT_MS = 60_000;
/** Asked at a time: a window of the link, and no more than the hub batches. */
const AT_ONCE = 8;

/** What an agent has answered. */
export interface Answered {
  readonly label: string;
  readonly isEscalated: boolean;
}

const result = z.object({
  source: z.enum(['edge', 'cloud']),
  output: z.array(z.object({ label: z.string() })).min(1),
});

/** Programs of one bench. */
export class Stack {
  readonly #folder: string;
  readonly #children: ChildProcess[] = [];
  #hubUrl = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  get dataDir(): string {
    return join(this.#folder, 'data');
  }

  /** @param models folder of models @param trainer the operator's command */
  async startHub(models: string, trainer: string): Promise<void> {
    const [port, mqttPort] = [await freePort(), await freePort()];
    this.#hubUrl = `http://127.0.0.1:${port}`;
    this.#start([
      ...['hub', '--data', this.dataDir, '--models', models, '--trainer', trainer, '--threads', '1'],
      ...['--hub-port', String(port), '--mqtt-port', String(mqttPort), '--captures-age', '1d'],
    ]);
    await until(async () => (await fetch(`${this.#hubUrl}/readyz`)).ok, 'the hub does not start');
  }

  /** An agent with one pipeline that promises so much; it is asked by what comes back, and then ended. */
  async withAgent<T>(
    id: string,
    {
      models,
      share,
      agreement,
    }: { readonly models: string; readonly share: 'inputs' | 'none'; readonly agreement: number },
    use: (ask: (pictures: readonly Seen[]) => Promise<Answered[]>) => Promise<T>,
  ): Promise<T> {
    const folder = join(this.#folder, id);
    await mkdir(folder, { recursive: true });
    this.run('devices', 'enroll', id, '--to', join(folder, 'data'));
    const config = join(folder, 'outrider.yaml');
    const pipeline = {
      ...{ name: 'vision', task: 'image-classification', edge: 'cifar10-cnn', cloud: 'cifar10-vit', share },
      ...{ route: { agreement, start: 'learn', deadline: '60s' } },
    };
    await writeFile(
      config,
      JSON.stringify({ device: id, hub: { url: this.#hubUrl }, pipelines: [pipeline] }),
    );
    const port = await freePort();
    const agent = this.#start([
      ...['agent', '--config', config, '--data', join(folder, 'data'), '--models', models],
      ...['--agent-port', String(port)],
    ]);
    const url = `http://127.0.0.1:${port}`;
    try {
      await until(async () => (await fetch(`${url}/readyz`)).ok, 'the agent does not start');
      return await use((pictures) => askAll(`${url}/v1/infer/vision`, pictures));
    } finally {
      agent.kill('SIGTERM');
      await once(agent, 'exit');
    }
  }

  /** Types a command at the hub. @returns what it printed @throws HUB_FAILED with what it said */
  run(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args, '--data', this.dataDir], {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    if (status !== 0) throw new AppError('HUB_FAILED', `outrider ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
  }

  #start(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#children.push(child);
    return child;
  }
}

/** In their order. */
async function askAll(url: string, pictures: readonly Seen[]): Promise<Answered[]> {
  const answers: Answered[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let at = next++; at < pictures.length; at = next++) {
      const picture = pictures[at];
      if (!picture) return;
      const { contentType, body } = picture.input;
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': contentType },
        body: Buffer.from(body),
      });
      const { source, output } = result.parse(await response.json());
      answers[at] = { label: output[0]?.label ?? '', isEscalated: source === 'cloud' };
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return answers;
}

async function until(isSo: () => Promise<boolean>, why: string): Promise<void> {
  const endMonoMs = clock.nowMonoMs() + START_TIMEOUT_MS;
  while (!(await isSo().catch(() => false))) {
    if (clock.nowMonoMs() > endMonoMs) throw new AppError('HUB_UNREACHABLE', why);
    await clock.sleep(100);
  }
}
