/**
 * What trials of execution providers have shown, kept on disk, so that a model is weighed once on a machine and not at each start. What was
 * weighed with another driver, GPU or ONNX Runtime is forgotten.
 */
import { z } from 'zod';
import { digest } from '../../shared/contract/names.ts';
import { executionProvider } from '../../shared/inference/runner/runner-protocol.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';

const weighed = z.object({
  provider: executionProvider,
  /** Milliseconds for each input of a batch; null: it does not run the model, or answers otherwise. */
  perInputMs: z.number().nullable(),
  problem: z.string().max(500).optional(),
});
/** A provider as it did in a trial of one model. */
export type Weighed = z.infer<typeof weighed>;

const file = z.object({
  machine: z.string(),
  models: z.array(z.object({ digest, atMs: z.number(), weighed: z.array(weighed) })),
});

/** Versions that are remembered, the newest first. */
const MAX_MODELS = 200;

/** Remembers verdicts for one machine. */
export class ProviderVerdicts {
  readonly #path: string;
  readonly #machine: string;
  readonly #writes = new SerialQueue();
  #models: z.infer<typeof file>['models'] = [];

  private constructor(path: string, machine: string) {
    this.#path = path;
    this.#machine = machine;
  }

  /** @param machine all that verdicts depend on, as text. A file that cannot be read is begun anew: trials are repeated. */
  static async open(path: string, machine: string): Promise<ProviderVerdicts> {
    const verdicts = new ProviderVerdicts(path, machine);
    const found = await readJson(path, file).catch(() => undefined);
    if (found?.machine === machine) verdicts.#models = found.models;
    return verdicts;
  }

  /** undefined: not weighed here */
  of(modelDigest: string): readonly Weighed[] | undefined {
    return this.#models.find((one) => one.digest === modelDigest)?.weighed;
  }

  /** @throws DISK_FULL and what the system says; it is remembered until the program ends in any case */
  async put(modelDigest: string, atMs: number, all: readonly Weighed[]): Promise<void> {
    const others = this.#models.filter((one) => one.digest !== modelDigest);
    this.#models = [{ digest: modelDigest, atMs, weighed: [...all] }, ...others].slice(0, MAX_MODELS);
    await this.#writes.run(() =>
      writeJsonAtomic(this.#path, { machine: this.#machine, models: this.#models }, 0o600),
    );
  }
}
