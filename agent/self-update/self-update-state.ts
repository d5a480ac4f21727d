/** How far the agent's own update is, over any restart: one small file. */
import { join } from 'node:path';
import { z } from 'zod';
import { type AgentUpdate, agentUpdate } from '../../shared/contract/messages.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

const stateFile = z.object({
  schema: z.literal(1),
  update: agentUpdate.nullable(),
  /** Of what was handed to the machine; null: nothing is. */
  offerId: z.string().nullable(),
  /** Not offered again before: the machine has just said that something is in the way. Epoch clock. */
  notBeforeAtMs: z.number().default(0),
});

/** Record of the newest update of the agent. */
export class SelfUpdateState {
  readonly #path: string;
  #update: AgentUpdate | null;
  #offerId: string | null;
  #notBeforeAtMs: number;

  private constructor(path: string, found: z.infer<typeof stateFile> | undefined) {
    this.#path = path;
    this.#update = found?.update ?? null;
    this.#offerId = found?.offerId ?? null;
    this.#notBeforeAtMs = found?.notBeforeAtMs ?? 0;
  }

  /** A file that cannot be read is told and begun anew. */
  static async open(folder: string, logger: Logger): Promise<SelfUpdateState> {
    const path = join(folder, 'state.json');
    const found = await readJson(path, stateFile).catch((error: unknown) => {
      logger.failure('self_update.state_unreadable', error);
      return undefined;
    });
    return new SelfUpdateState(path, found);
  }

  /** null before the first. */
  get update(): AgentUpdate | null {
    return this.#update;
  }

  /** By which the machine answers; null: nothing is handed over. */
  get offerId(): string | null {
    return this.#offerId;
  }

  /** When it may be offered again, on the epoch clock; 0: at once. */
  get notBeforeAtMs(): number {
    return this.#notBeforeAtMs;
  }

  /** On disk when it returns. @throws DISK_FULL (nothing has changed) */
  async set(update: AgentUpdate | null, offerId: string | null, notBeforeAtMs = 0): Promise<void> {
    await writeJsonAtomic(this.#path, { schema: 1, update, offerId, notBeforeAtMs });
    this.#notBeforeAtMs = notBeforeAtMs;
    this.#update = update;
    this.#offerId = offerId;
  }

  /** For people only: it may be lost. */
  note(change: Partial<AgentUpdate>): void {
    if (this.#update) this.#update = { ...this.#update, ...change };
  }
}
