/**
 * Trainings that operators order, one at a time: captures are written out, the operator's program makes a model folder of them, and that is
 * published as any other version: rehearsed, signed, and rolled out by the gates. Nothing of Python is known here.
 *
 * The state machine stands at `trainingState` (shared/contract/trainings.ts). A hub that ends leaves what was under way as interrupted; what
 * had been written for it goes at the next start, and with the training's end.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import type { CaptureRecord } from '../../shared/contract/captures.ts';
import {
  isOpenTraining,
  type TrainingRecord,
  type TrainingState,
  type trainingRequest,
} from '../../shared/contract/trainings.ts';
import { writeDataset } from '../../shared/dataset/dataset.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { CaptureBook, EventSink, TrainingAdmin } from '../ports.ts';
import { runTrainer } from './trainer.ts';
import { TrainingRecords } from './training-records.ts';

/** A version to begin from. */
interface TrainingBase {
  readonly version: string;
  readonly folder: string;
  /** Whether a version that is published is on devices at once. */
  readonly isAuto: boolean;
  /** Whether a rollout begins by itself. */
  readonly isStaged: boolean;
}

/** What trainings need of a hub. */
export interface TrainingsOptions {
  /** Of records and of what is written for a training. */
  readonly folder: string;
  /** Words of the operator's command; undefined: there is none. */
  readonly trainer: readonly string[] | undefined;
  readonly timeoutMs: number;
  readonly captures: Pick<CaptureBook, 'list' | 'get' | 'inputOf'>;
  /** @throws MODEL_UNKNOWN, CONFLICT (it has no version with a folder) */
  readonly baseOf: (model: string) => TrainingBase;
  /** Publishes a model folder. @throws as Publisher.publish */
  readonly publish: (
    model: string,
    folder: string,
  ) => Promise<{ readonly version: string; readonly created: boolean }>;
  /** Begins a rollout of it. @returns its id @throws as RolloutAdmin.start */
  readonly rollOut: (model: string, version: string, by: string | null) => Promise<string>;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const MAX_WAITING = 10;
/** The record on disk, and whoever watches, hear of an output so often at most. */
const TELL_EVERY_MS = 2_000;
const PAGE = 1_000;

/** Trainings of this hub. */
export class Trainings implements TrainingAdmin, Part {
  readonly #o: TrainingsOptions;
  #records: TrainingRecords | undefined;
  readonly #stopping = new AbortController();
  #running:
    | { readonly id: string; readonly abort: AbortController; readonly ended: Promise<void> }
    | undefined;
  #work: Promise<void> = Promise.resolve();
  #toldMonoMs = Number.NEGATIVE_INFINITY;

  constructor(options: TrainingsOptions) {
    this.#o = options;
  }

  async start(): Promise<void> {
    const { folder, clock, logger, metrics } = this.#o;
    await makeFolder(folder, { mode: 0o700 });
    await rm(this.#workFolder, { recursive: true, force: true });
    this.#records = await TrainingRecords.open(folder, clock.nowAtMs(), logger);
    metrics.gauge(
      'outrider_trainings_open',
      'Trainings that are under way or wait for their turn',
      () => this.#all.filter(({ state }) => isOpenTraining(state)).length,
    );
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  list(): TrainingRecord[] {
    return [...this.#all].reverse();
  }

  get(id: string): TrainingRecord {
    const found = this.#records?.get(id);
    if (!found) throw new AppError('NOT_FOUND', 'there is no training of this id');
    return found;
  }

  async order(request: z.output<typeof trainingRequest>, by: string | null): Promise<TrainingRecord> {
    const { trainer, baseOf, clock, logger } = this.#o;
    if (!trainer) throw new AppError('TRAINER_MISSING');
    const { model, pipeline = null, sinceAtMs = null, rollout, minCaptures, note } = request;
    refuseUngated(model, baseOf(model), rollout);
    const open = this.#all.filter(({ state }) => isOpenTraining(state));
    if (open.length >= MAX_WAITING) throw new AppError('QUEUE_FULL', `${MAX_WAITING} trainings wait already`);
    const wish = { model, pipeline, sinceAtMs };
    const there = this.#capturesOf(wish).length;
    if (there < minCaptures)
      throw new AppError('CONFLICT', `there are ${there} captures for it, and ${minCaptures} are wanted`);
    const record: TrainingRecord = {
      ...{ id: newId(), ...wish, rollout, minCaptures, note, by },
      ...{ base: null, state: 'queued', createdAtMs: clock.nowAtMs(), startedAtMs: null, endedAtMs: null },
      ...{ captures: null, output: '', error: null, result: null },
    };
    await this.#change(record);
    logger.info('training.ordered', { training: record.id, model, by });
    this.#work = this.#work.then(() => this.#run(record.id));
    return record;
  }

  async cancel(id: string, by: string | null): Promise<TrainingRecord> {
    const one = this.get(id);
    if (!isOpenTraining(one.state)) throw new AppError('CONFLICT', `the training is ${one.state} already`);
    if (one.state === 'publishing')
      throw new AppError('CONFLICT', 'it is being published: roll it back with outrider rollout');
    this.#o.logger.info('training.cancelled', { training: id, by });
    if (this.#running?.id === id) {
      this.#running.abort.abort();
      await this.#running.ended;
    } else await this.#end(one, 'cancelled', new AppError('DROPPED', 'it was cancelled'));
    return this.get(id);
  }

  get #all(): TrainingRecord[] {
    return this.#records?.all() ?? [];
  }

  get #workFolder(): string {
    return join(this.#o.folder, 'work');
  }

  /** Never rejects. */
  async #run(id: string): Promise<void> {
    const one = this.#records?.get(id);
    if (one?.state !== 'queued' || this.#stopping.signal.aborted) return;
    const abort = new AbortController();
    const ended = this.#runOne(one, abort);
    this.#running = { id, abort, ended };
    await ended;
    this.#running = undefined;
  }

  async #runOne(one: TrainingRecord, abort: AbortController): Promise<void> {
    const { logger } = this.#o;
    const work = join(this.#workFolder, one.id);
    const facts = { training: one.id };
    try {
      await this.#train(one, work, AbortSignal.any([abort.signal, this.#stopping.signal]));
    } catch (error) {
      // A hub that ends finds it open at its next start.
      const state = abort.signal.aborted ? 'cancelled' : 'failed';
      if (!this.#stopping.signal.aborted)
        await this.#end(this.get(one.id), state, toAppError(error)).catch((reason: unknown) =>
          logger.failure('training.not_recorded', reason, facts),
        );
    }
    await rm(work, { recursive: true, force: true }).catch((error: unknown) =>
      logger.failure('training.not_cleared', error, facts),
    );
  }

  async #train(one: TrainingRecord, work: string, signal: AbortSignal): Promise<void> {
    const { trainer = [], baseOf, timeoutMs, clock, captures: book } = this.#o;
    const base = baseOf(one.model);
    const begun = { ...one, base: base.version, startedAtMs: clock.nowAtMs() };
    const folders = { captures: join(work, 'captures'), out: join(work, 'model') };
    await this.#change({ ...begun, state: 'exporting' });
    await makeFolder(work, { mode: 0o700 });
    const { examples } = await writeDataset({
      ...{ out: folders.captures, captures: this.#capturesOf(one), signal },
      detailOf: (id) => book.get(id),
      inputOf: (id) => readInput(book.inputOf(id).path),
    });
    const ready: TrainingRecord = { ...begun, state: 'training', captures: examples };
    await this.#change(ready);
    await runTrainer({
      ...{ command: trainer, folder: work, base: base.folder, ...folders, timeoutMs, signal },
      onOutput: (output) => this.#said(one.id, output),
    });
    signal.throwIfAborted();
    const trained = { ...ready, output: this.get(one.id).output };
    await this.#change({ ...trained, state: 'publishing' });
    const { version, created } = await this.#o.publish(one.model, folders.out);
    // The policy may have been changed meanwhile: then its rollout has begun by itself.
    const rollout = one.rollout && created ? await this.#o.rollOut(one.model, version, one.by) : null;
    await this.#end({ ...trained, result: { version, created, rollout } }, 'done', undefined);
  }

  /** Those that the model has answered itself, newest first. */
  #capturesOf({
    model,
    pipeline,
    sinceAtMs,
  }: Pick<TrainingRecord, 'model' | 'pipeline' | 'sinceAtMs'>): CaptureRecord[] {
    const filter = {
      model,
      ...(pipeline !== null && { pipeline }),
      ...(sinceAtMs !== null && { since: sinceAtMs }),
    };
    const found: CaptureRecord[] = [];
    for (let after: string | null | undefined; after !== null; ) {
      const page = this.#o.captures.list(filter, { limit: PAGE, ...(after !== undefined && { after }) });
      found.push(...page.captures.filter(({ edge }) => edge.model?.name === model));
      after = page.next;
    }
    return found;
  }

  #said(id: string, output: string): void {
    const one = { ...this.get(id), output };
    this.#records?.note(one);
    const now = this.#o.clock.nowMonoMs();
    if (now - this.#toldMonoMs < TELL_EVERY_MS) return;
    this.#toldMonoMs = now;
    this.#o.events.publish({ type: 'training', training: one });
  }

  async #end(one: TrainingRecord, state: TrainingState, error: AppError | undefined): Promise<void> {
    const { logger, metrics, clock } = this.#o;
    const told = error && { code: error.code, message: error.message };
    await this.#change({ ...one, state, endedAtMs: clock.nowAtMs(), error: told ?? null });
    metrics.count('outrider_trainings_total', { outcome: state });
    const facts = { training: one.id, model: one.model, state, version: one.result?.version };
    if (error && !isAppError(error, 'EXPIRED')) logger.failure('training.ended', error, facts);
    else logger.info('training.ended', facts);
  }

  async #change(record: TrainingRecord): Promise<void> {
    await this.#records?.put(record);
    this.#o.events.publish({ type: 'training', training: record });
  }
}

/** A version that learnt by itself goes through gates, or nowhere. @throws CONFLICT */
function refuseUngated(model: string, { isAuto, isStaged }: TrainingBase, wantsRollout: boolean): void {
  if (isAuto)
    throw new AppError(
      'CONFLICT',
      `${model} has the policy auto, by which every device would get it at once: outrider models set ${model} --policy staged`,
    );
  if (isStaged && !wantsRollout)
    throw new AppError(
      'CONFLICT',
      `${model} has the policy staged, by which its rollout begins by itself: outrider models set ${model} --policy manual`,
    );
}

/** It may have been erased since it was listed. @throws NOT_FOUND */
async function readInput(path: string): Promise<Uint8Array> {
  return readFile(path).catch((error: unknown) => {
    throw new AppError('NOT_FOUND', 'this input is gone', { cause: error });
  });
}
