/**
 * Makes deltas in the background, one at a time and at the lowest priority, and has them listed. What nobody needs any more, and what there is
 * no room for, is taken off the list first and removed then. A delta that is missing costs bytes and nothing else: devices fetch the whole file.
 */
import { join } from 'node:path';
import type { VersionFile } from '../../shared/contract/admin.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { makeDelta } from '../../shared/release/delta/delta-process.ts';
import type { Delta } from '../../shared/release/release.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { within } from '../../shared/runtime/within.ts';
import type { DeltaShelf, FilePair } from './delta-shelf.ts';
import { type FileJob, filePairs, type PairFacts, wantedPairs } from './wanted-pairs.ts';

/** Records, the signed list and the program that a maker works with. */
export interface DeltaMakerOptions {
  readonly shelf: DeltaShelf;
  /** What devices have and are to have, as it is now. */
  readonly facts: () => PairFacts;
  /** Files of a version, and its folder on this hub; undefined: it has no copy of its own. */
  readonly copyOf: (
    ref: ModelRef,
  ) => { readonly folder: string; readonly files: readonly VersionFile[] } | undefined;
  /** The signed metadata. */
  readonly updates: {
    /** Whether the key is here. */
    readonly canList: boolean;
    deltas(): Delta[];
    listDeltas(deltas: readonly Delta[]): Promise<void>;
  };
  readonly make: typeof makeDelta;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A larger one is not worth the device's time. */
const MAX_SHARE = 0.8;
/** 400 MB take 15 s; a graph that takes longer has something against being read. */
const JOB_TIMEOUT_MS = 10 * 60_000;
/** A fleet that comes back reports all at once. */
const LOOK_AFTER_MS = 5_000;
/** In one go; the rest comes in the next. */
const MAX_JOBS = 64;

/** Makes deltas for the versions that devices have. */
export class DeltaMaker implements Part {
  readonly #o: DeltaMakerOptions;
  readonly #stopping = new AbortController();
  readonly #next = new Map<string, ModelRef>();
  #work: Promise<void> | undefined;
  #isDue = false;
  #cancelLook = (): void => undefined;
  #isLooking = false;

  constructor(options: DeltaMakerOptions) {
    this.#o = options;
  }

  start(): void {
    this.consider();
  }

  async stop(): Promise<void> {
    this.#cancelLook();
    this.#stopping.abort();
    await this.#work;
  }

  /** Something that devices have, or are to have, may have changed. Returns at once. */
  consider(): void {
    if (this.#isLooking || this.#stopping.signal.aborted) return;
    this.#isLooking = true;
    this.#cancelLook = this.#o.clock.after(LOOK_AFTER_MS, () => {
      this.#isLooking = false;
      void this.#run();
    });
  }

  /** Makes those to a version that devices are about to be told of; after `maxMs` it goes on without anybody waiting. Never rejects. */
  async prepare(ref: ModelRef, maxMs: number): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#next.set(ref.digest, ref);
    const work = this.#run().finally(() => this.#next.delete(ref.digest));
    await within(this.#o.clock, maxMs, work);
  }

  /** Until everything that is wanted by now is there, or cannot be had. Never rejects. */
  #run(): Promise<void> {
    this.#isDue = true;
    this.#work ??= this.#runWhileDue().finally(() => {
      this.#work = undefined;
    });
    return this.#work;
  }

  async #runWhileDue(): Promise<void> {
    while (this.#isDue && !this.#stopping.signal.aborted) {
      this.#isDue = false;
      try {
        for (const job of this.#jobs()) {
          if (this.#stopping.signal.aborted) return;
          await this.#make(job);
        }
        await this.#list();
      } catch (error) {
        this.#o.logger.failure('deltas.failed', error);
        return;
      }
    }
  }

  #jobs(): Job[] {
    const { facts, copyOf, shelf } = this.#o;
    const jobs = new Map<string, Job>();
    for (const pair of wantedPairs(facts(), [...this.#next.values()])) {
      const [base, result] = [copyOf(pair.base), copyOf(pair.result)];
      if (!base || !result) continue;
      for (const files of filePairs(base.files, result.files)) {
        for (const kind of pair.kinds) {
          const key = { base: files.base.sha256, result: files.result.sha256, kind };
          if (shelf.knows(key)) continue;
          jobs.set(`${key.base}-${key.result}-${kind ?? ''}`, { ...files, key, from: base, to: result });
        }
        if (jobs.size >= MAX_JOBS) {
          this.#isDue = true;
          return [...jobs.values()];
        }
      }
    }
    return [...jobs.values()];
  }

  async #make({ base, result, key, from, to }: Job): Promise<void> {
    const { shelf, make, clock, logger, metrics } = this.#o;
    // The one before was of no kind.
    if (shelf.knows(key)) return;
    const startedMonoMs = clock.nowMonoMs();
    const file = ({ folder, files }: Copy, path: string) => ({
      path: join(folder, path),
      graphs: files.filter((one) => one.path.endsWith('.onnx')).map((one) => join(folder, one.path)),
    });
    const facts = { ...key, resultBytes: result.bytes };
    try {
      const encoded = await make(
        {
          base: file(from, base.path),
          result: file(to, result.path),
          out: shelf.stagePath,
          maxBytes: Math.floor(MAX_SHARE * result.bytes),
          kinds: key.kind ? [key.kind] : [],
        },
        { signal: this.#stopping.signal, timeoutMs: JOB_TIMEOUT_MS, clock },
      );
      const isMade = 'bytes' in encoded;
      if (isMade) await shelf.put(key, { resultBytes: result.bytes, kind: encoded.kind });
      else await shelf.putNone(key);
      metrics.count('outrider_deltas_total', { outcome: isMade ? 'made' : 'too-large' });
      logger.info('deltas.made', {
        ...facts,
        bytes: isMade ? encoded.bytes : null,
        ms: Math.round(clock.nowMonoMs() - startedMonoMs),
      });
    } catch (error) {
      if (isAppError(error, 'STOPPING')) return;
      metrics.count('outrider_deltas_total', { outcome: 'failed' });
      logger.failure('deltas.not_made', error, facts);
      // A full disk may have room later, and nothing else has any now; anything else would fail the same way again.
      if (isAppError(error, 'DISK_FULL')) throw error;
      await shelf.putNone(key);
    }
  }

  /** Those that are there, of versions that are there; the list first, then the disk. */
  async #list(): Promise<void> {
    const { shelf, facts, copyOf, updates } = this.#o;
    const files = new Set(
      facts().versions.flatMap((ref) => copyOf(ref)?.files.map(({ sha256 }) => sha256) ?? []),
    );
    await shelf.dropLost((sha256) => files.has(sha256));
    if (updates.canList) await updates.listDeltas(shelf.all());
    await shelf.sweep();
  }
}

interface Copy {
  readonly folder: string;
  readonly files: readonly VersionFile[];
}
interface Job extends FileJob {
  readonly key: FilePair;
  readonly from: Copy;
  readonly to: Copy;
}
