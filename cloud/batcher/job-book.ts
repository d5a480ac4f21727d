/** The jobs of one model that are not answered: whose they are, which of them a runner has in its hands, and how each is told of its end. */
import type { Outcome } from '../../shared/inference/runner/runner.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { ModelLease } from '../ports.ts';
import { CallerCounts } from './caller-counts.ts';
import { type Job, settle } from './job.ts';

/** A run of one job or several that has ended. */
export interface Ran {
  readonly lease: ModelLease;
  readonly endedMonoMs: number;
  readonly batchSize: number;
}

/** Book of jobs, by caller. */
export class JobBook {
  /** Jobs that are not answered, and of them those that a runner decodes or has decoded; by caller. */
  readonly held = new CallerCounts();
  readonly inHand = new CallerCounts();

  /** Tells what a run gave for it; undefined: it gave nothing. */
  answer(job: Job, outcome: Outcome | undefined, run: Ran): void {
    if (outcome?.ok !== true) {
      const { code, message } = outcome?.error ?? {
        code: 'INVARIANT_BROKEN',
        message: 'an answer is missing',
      };
      this.reject(job, new AppError(code, message));
    } else if (!job.isSettled) {
      const { output, read, timingsMs } = outcome.value;
      const wholeMs = run.endedMonoMs - job.submittedMonoMs;
      const queueMs = Math.max(0, wholeMs - timingsMs.preprocess - timingsMs.inference);
      this.#settle(job);
      job.resolve({
        ...{ output, model: run.lease.ref, batchSize: run.batchSize },
        ...(read && { read }),
        timingsMs: { ...timingsMs, queue: queueMs },
      });
    }
  }

  /** Tells of its error, once. */
  reject(job: Job, error: AppError): void {
    if (job.isSettled) return;
    this.#settle(job);
    job.reject(error);
  }

  #settle(job: Job): void {
    settle(job);
    this.letGo(job);
    this.held.remove(job.caller);
  }

  takeInHand(job: Job): void {
    if (!job.isInHand) this.inHand.add(job.caller);
    job.isInHand = true;
  }

  letGo(job: Job): void {
    if (job.isInHand) this.inHand.remove(job.caller);
    job.isInHand = false;
  }
}
