/** Asks a device about the same inputs all the time: whether it answers whenever it is up, and whether each version always says the same. */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { answer } from '../../../shared/contract/result.ts';
import { systemCode } from '../../../shared/runtime/errors.ts';
import { MODELS, type Model, type UpdatedDevice, type UpdatedPlace } from './place.ts';

/** A problem, or a Result that says that it failed. */
const problem = z
  .object({ code: z.string().optional(), error: z.object({ code: z.string() }).optional() })
  .transform(({ code, error }) => ({ code: code ?? error?.code ?? 'no answer' }));
const EVERY_MS = 60;
const TIMEOUT_MS = 20_000;

/** What one device has said. */
export interface Said {
  answered: number;
  /** Of those that it was asked while it was up, and stayed up: what it said instead. */
  readonly failed: Record<string, number>;
  /** From one version to another. */
  switched: number;
  /** It was up, and answered nothing for so long. */
  longestSilenceMs: number;
}

/** What was answered once, by version: all devices say the same. */
export type FirstAnswers = Map<string, unknown>;

export class Probe {
  readonly said: Said = { answered: 0, failed: {}, switched: 0, longestSilenceMs: 0 };
  /** Sentences. */
  readonly wrong: string[] = [];
  readonly #device: UpdatedDevice;
  readonly #inputs: UpdatedPlace['inputs'];
  readonly #first: FirstAnswers;
  readonly #isKnown: (digest: string) => boolean;
  readonly #stopping = new AbortController();
  readonly #last = new Map<string, string>();
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: {
    readonly device: UpdatedDevice;
    readonly inputs: UpdatedPlace['inputs'];
    readonly first: FirstAnswers;
    /** Of a version that somebody has made. */
    readonly isKnown: (digest: string) => boolean;
  }) {
    this.#device = options.device;
    this.#inputs = options.inputs;
    this.#first = options.first;
    this.#isKnown = options.isKnown;
  }

  /** Version that has answered last. */
  digestOf(model: string): string | undefined {
    return this.#last.get(model);
  }

  start(): void {
    this.#work = Promise.all(MODELS.map((model) => this.#askOn(model)));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  async #askOn(model: Model): Promise<void> {
    const { program } = this.#device;
    const { signal } = this.#stopping;
    let quietSinceMonoMs = performance.now();
    let kills = program.kills;
    while (!signal.aborted) {
      if (!program.isUp || kills !== program.kills) {
        kills = program.kills;
        quietSinceMonoMs = performance.now();
      } else if (await this.#ask(model, kills)) quietSinceMonoMs = performance.now();
      const quietMs = performance.now() - quietSinceMonoMs;
      this.said.longestSilenceMs = Math.max(this.said.longestSilenceMs, quietMs);
      await delay(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** @returns whether it was answered */
  async #ask({ name, pipeline, contentType }: Model, kills: number): Promise<boolean> {
    const { url } = this.#device;
    try {
      const response = await fetch(`${url}/v1/infer/${pipeline}`, {
        method: 'POST',
        headers: { 'content-type': contentType },
        body: new Uint8Array(this.#inputs[name]),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const said: unknown = await response.json();
      const found = answer.safeParse(said);
      if (!found.success) {
        this.#failed(kills, problem.parse(said).code);
        return false;
      }
      this.said.answered++;
      this.#note(name, found.data.model.digest, found.data.output);
      return true;
    } catch (error) {
      this.#failed(kills, systemCode(error instanceof Error ? error.cause : error) ?? 'no answer');
      return false;
    }
  }

  /** Where it was cut off by a kill nobody has said anything. */
  #failed(kills: number, why: string): void {
    const { program } = this.#device;
    if (!program.isUp || program.kills !== kills) return;
    this.said.failed[why] = (this.said.failed[why] ?? 0) + 1;
  }

  #note(name: string, digest: string, output: unknown): void {
    const { id } = this.#device;
    if (!this.#isKnown(digest)) this.wrong.push(`${id} answers by ${name} ${digest}, which nobody has made`);
    const first = this.#first.get(digest);
    if (first === undefined) this.#first.set(digest, output);
    else if (!isDeepStrictEqual(first, output))
      this.wrong.push(`${id} answers by ${name} ${digest} otherwise than before: it is not that version`);
    const before = this.#last.get(name);
    if (before !== undefined && before !== digest) this.said.switched++;
    this.#last.set(name, digest);
  }
}
