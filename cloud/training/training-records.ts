/** Records of trainings on disk: the newest, in one file that is replaced whole. */
import { join } from 'node:path';
import { z } from 'zod';
import { isOpenTraining, type TrainingRecord, trainingRecord } from '../../shared/contract/trainings.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

const MAX_RECORDS = 100;
const recordsFile = z.object({ schema: z.literal(1), trainings: z.array(trainingRecord) });

/** Trainings by id, oldest first. */
export class TrainingRecords {
  readonly #path: string;
  readonly #records: Map<string, TrainingRecord>;

  private constructor(path: string, records: readonly TrainingRecord[]) {
    this.#path = path;
    this.#records = new Map(records.map((one) => [one.id, one]));
  }

  /** What was under way when the hub ended is interrupted. A file that cannot be read is told, and begun anew. */
  static async open(folder: string, nowAtMs: number, logger: Logger): Promise<TrainingRecords> {
    const path = join(folder, 'trainings.json');
    const found = await readJson(path, recordsFile).catch((error: unknown) => {
      logger.failure('trainings.unreadable', error, { path });
      return undefined;
    });
    const before = found?.trainings ?? [];
    const records = new TrainingRecords(
      path,
      before.map((one) => (isOpenTraining(one.state) ? interrupted(one, nowAtMs) : one)),
    );
    if (before.some(({ state }) => isOpenTraining(state))) await records.#store();
    return records;
  }

  all(): TrainingRecord[] {
    return [...this.#records.values()];
  }

  get(id: string): TrainingRecord | undefined {
    return this.#records.get(id);
  }

  /** On disk when it returns. @throws DISK_FULL */
  async put(record: TrainingRecord): Promise<void> {
    this.note(record);
    for (const { id, state } of this.all())
      if (this.#records.size > MAX_RECORDS && !isOpenTraining(state)) this.#records.delete(id);
    await this.#store();
  }

  /** In memory alone: what a program has just said. */
  note(record: TrainingRecord): void {
    this.#records.set(record.id, record);
  }

  #store(): Promise<void> {
    return writeJsonAtomic(this.#path, { schema: 1, trainings: this.all() }, 0o600);
  }
}

const interrupted = (one: TrainingRecord, endedAtMs: number): TrainingRecord => ({
  ...one,
  state: 'interrupted',
  endedAtMs,
  error: { code: 'STOPPING', message: 'the hub has ended meanwhile: order it again' },
});
