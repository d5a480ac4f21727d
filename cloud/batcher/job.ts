/** A request on its way through a queue: who hears of its end, and what ends it before its turn. */
import type { Prepared } from '../../shared/inference/runner/runner.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { AppError } from '../../shared/runtime/errors.ts';
import type { InferenceReply, InferenceRequest, ModelLease, Priority } from '../ports.ts';

/** A request that is not answered yet, and what has become of it so far. */
export interface Job {
  readonly request: InferenceRequest;
  readonly priority: Priority;
  readonly caller: string;
  readonly deadlineMonoMs: number;
  readonly submittedMonoMs: number;
  readonly resolve: (reply: InferenceReply) => void;
  readonly reject: (error: AppError) => void;
  cancelExpiry: () => void;
  /** No longer hears whether its caller has gone. */
  forgetCaller: () => void;
  /** Set while it runs alone. */
  stopRun: (() => void) | undefined;
  hasSpoken: boolean;
  /** A runner decodes it, or has. */
  isInHand: boolean;
  /** How often it was in a runner that ended. */
  crashes: number;
  isSettled: boolean;
}

/** A job whose input waits in the runner, decoded. */
export interface ReadyJob extends Prepared, Pick<Job, 'priority' | 'caller' | 'deadlineMonoMs'> {
  readonly job: Job;
  readonly lease: ModelLease;
}

/** A job that has just come. */
export const jobOf = (
  request: InferenceRequest,
  clock: Clock,
  told: Pick<Job, 'resolve' | 'reject'>,
): Job => ({
  request,
  priority: request.priority ?? 'interactive',
  caller: request.caller,
  deadlineMonoMs: request.deadlineMonoMs,
  submittedMonoMs: clock.nowMonoMs(),
  resolve: told.resolve,
  reject: told.reject,
  cancelExpiry: () => undefined,
  forgetCaller: () => undefined,
  stopRun: undefined,
  hasSpoken: false,
  isInHand: false,
  crashes: 0,
  isSettled: false,
});

/** Calls once when the request has expired; again replaces the time before. */
export function armExpiry(job: Job, clock: Clock, onExpired: () => void): void {
  job.cancelExpiry();
  job.cancelExpiry = clock.after(Math.max(0, job.request.expiresMonoMs - clock.nowMonoMs()), () => {
    // A timer may be early by its longest span.
    if (clock.nowMonoMs() < job.request.expiresMonoMs) armExpiry(job, clock, onExpired);
    else onExpired();
  });
}

/** Calls when nobody waits for the answer any more, also at once. */
export function heedCaller(job: Job, onGone: () => void): void {
  const { signal } = job.request;
  if (signal === undefined) return;
  if (signal.aborted) onGone();
  else signal.addEventListener('abort', onGone, { once: true });
  job.forgetCaller = () => signal.removeEventListener('abort', onGone);
}

/** Nothing more is told about it. */
export function settle(job: Job): void {
  job.isSettled = true;
  job.cancelExpiry();
  job.forgetCaller();
}
