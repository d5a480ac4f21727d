/** What the updater must know after any crash: which version of each model is committed, and how far the newest update is. One file. */
import { join } from 'node:path';
import { z } from 'zod';
import { updateReport } from '../../shared/contract/messages.ts';
import { digest, modelName, modelRef } from '../../shared/contract/names.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';

/** A version has no more files. */
export const MAX_REFUSED_DELTAS = 1_000;

/** State of one model on the device: which version is committed, and its newest update. */
const modelState = z.object({
  /** The committed version; null: whatever folder of this model is there. */
  active: modelRef.nullable(),
  /** The one before it: its files stay, so that going back needs no download. */
  previous: modelRef.nullable(),
  /** The newest update; null before the first. */
  update: updateReport
    .extend({
      /** How often its self-test has begun: one that takes the agent down with it is not begun for ever. */
      tries: z.int().nonnegative(),
      /** SHA-256 of deltas that have not made what they are for: they are not tried again. */
      refusedDeltas: z.array(digest).max(MAX_REFUSED_DELTAS).optional(),
    })
    .nullable(),
});
export type ModelState = z.infer<typeof modelState>;
/** Newest update of one model: its phase, and how often it was tried. */
export type Update = NonNullable<ModelState['update']>;

const stateFile = z.object({ schema: z.literal(1), models: z.record(modelName, modelState) });

const EMPTY: ModelState = { active: null, previous: null, update: null };

/** Record of committed versions and of updates under way, on disk before each step. */
export class UpdateState {
  readonly #path: string;
  #models: Record<string, ModelState>;
  /** Models are updated side by side, and there is one file. */
  readonly #writing = new SerialQueue();

  private constructor(path: string, models: Record<string, ModelState>) {
    this.#path = path;
    this.#models = models;
  }

  /** A file that cannot be read is told and begun anew: the models' own folders answer then. */
  static async open(folder: string, logger: Logger): Promise<UpdateState> {
    const path = join(folder, 'state.json');
    const stored = await readJson(path, stateFile).catch((error: unknown) => {
      logger.failure('update.state_unreadable', error);
      return undefined;
    });
    return new UpdateState(path, stored?.models ?? {});
  }

  of(name: string): ModelState {
    return Object.hasOwn(this.#models, name) ? (this.#models[name] ?? EMPTY) : EMPTY;
  }

  get updates(): Update[] {
    return Object.values(this.#models).flatMap(({ update }) => update ?? []);
  }

  /** SHA-256 of the versions that must stay on disk. */
  get kept(): ReadonlySet<string> {
    const refs = Object.values(this.#models).flatMap(({ active, previous, update }) => [
      active,
      previous,
      update && !hasEnded(update) ? update.model : null,
    ]);
    return new Set(refs.flatMap((ref) => ref?.digest ?? []));
  }

  /** On disk when it returns. @throws DISK_FULL (nothing has changed) */
  set(name: string, change: Partial<ModelState>): Promise<void> {
    return this.#writing.run(async () => {
      const state = { ...this.of(name), ...change };
      await writeJsonAtomic(this.#path, { schema: 1, models: { ...this.#models, [name]: state } });
      // Others may have been noted meanwhile.
      this.#models = { ...this.#models, [name]: state };
    });
  }

  /** For people only: it may be lost. */
  note(name: string, change: Partial<Update>): void {
    const state = this.of(name);
    if (state.update)
      this.#models = { ...this.#models, [name]: { ...state, update: { ...state.update, ...change } } };
  }
}

/** Whether nothing more comes of it by itself. */
export const hasEnded = ({ phase }: Pick<Update, 'phase'>): boolean =>
  phase === 'committed' || phase === 'rolled-back';
