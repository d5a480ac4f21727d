/** One borrowed runner of a model, and what of the queue it has in its hands. */
import type { ModelLease } from '../ports.ts';
import { FairLine } from './fair-line.ts';
import type { Job, ReadyJob } from './job.ts';

/** A batch that runs, or waits in the runner for the one that does. */
export type Batch = readonly Job[];

/** A runner’s share of the queue. */
export class Lane {
  readonly lease: ModelLease;
  /** Being decoded. */
  readonly preparing = new Set<Job>();
  readonly ready = new FairLine<ReadyJob>();
  /** Those being decoded of whose callers nothing else was in hand, and until when the next batch waits for them at most, once it does. */
  readonly newcomers = new Map<Job, number | undefined>();
  readonly batches = new Set<Batch>();
  /** What is decoded and run by one call. */
  readonly direct = new Set<Job>();
  /** What runs beside the batches. */
  readonly long = new Set<Job>();
  /** When the last batch has ended: a later one has run from then on at the earliest. */
  endedMonoMs = Number.NEGATIVE_INFINITY;

  constructor(lease: ModelLease) {
    this.lease = lease;
  }

  get running(): number {
    let sum = this.long.size + this.direct.size;
    for (const { length } of this.batches) sum += length;
    return sum;
  }

  get isAtWork(): boolean {
    return this.batches.size + this.direct.size > 0;
  }

  /** Jobs that the runner has in its hands. */
  get inFlight(): number {
    return this.preparing.size + this.ready.length + this.running;
  }

  /** Whether it works on what may end it: that has a runner for itself. */
  get holdsSuspect(): boolean {
    if (this.inFlight !== 1) return false;
    const [batch] = this.batches;
    const job = [...this.preparing, ...this.long, ...this.direct][0] ?? this.ready.first()?.job ?? batch?.[0];
    return job !== undefined && job.crashes > 0;
  }
}
