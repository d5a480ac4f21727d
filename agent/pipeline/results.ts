/** Makes the Results of one pipeline: the one place where their fields are filled in. */
import type { Answer, Failure } from '../../shared/contract/result.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { ErrorBody } from '../../shared/runtime/errors.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import type { CloudReply, LocalAnswer, Router } from '../ports.ts';

/** The input that a Result is about. */
export interface Subject {
  readonly id: string;
  readonly label: string | null;
  /** When the pipeline took it in. */
  readonly startMonoMs: number;
}

/** Builder of Results, which fills in what all those of one pipeline share. */
export class ResultMaker {
  readonly #pipeline: string;
  readonly #task: TaskName;
  readonly #router: Pick<Router, 'agreementAt'>;
  readonly #clock: Clock;

  constructor(options: {
    readonly pipeline: string;
    readonly task: TaskName;
    readonly router: Pick<Router, 'agreementAt'>;
    readonly clock: Clock;
  }) {
    this.#pipeline = options.pipeline;
    this.#task = options.task;
    this.#router = options.router;
    this.#clock = options.clock;
  }

  local(subject: Subject, local: LocalAnswer, reason: Answer['reason'], provisional = false): Answer {
    return {
      ...this.#frame(subject),
      task: this.#task,
      output: local.output,
      source: 'edge',
      provisional,
      model: local.model,
      agreement: this.#router.agreementAt(local),
      reason,
      timingsMs: {
        preprocess: round(local.timingsMs.preprocess),
        inference: round(local.timingsMs.inference),
        queue: null,
        network: null,
        total: this.#sinceMs(subject),
      },
    };
  }

  /** @param roundTripMs from the last publish to the reply; null when it came in an earlier run of the agent */
  cloud(
    subject: Subject,
    reply: Extract<CloudReply, { ok: true }>,
    reason: Answer['reason'],
    roundTripMs: number | null,
  ): Answer {
    const { preprocess, inference, queue, total } = reply.timingsMs;
    const network = roundTripMs === null ? null : round(Math.max(0, roundTripMs - total));
    return {
      ...this.#frame(subject),
      task: this.#task,
      output: reply.output,
      source: 'cloud',
      provisional: false,
      model: reply.model,
      agreement: null,
      reason,
      timingsMs: {
        preprocess: round(preprocess),
        inference: round(inference),
        queue: round(queue),
        network,
        total: this.#sinceMs(subject),
      },
    };
  }

  failure(subject: Subject, { code, message }: ErrorBody): Failure {
    return { ...this.#frame(subject), error: { code, message } };
  }

  #frame({ id, label }: Subject): Pick<Answer, 'id' | 'pipeline' | 'input' | 'atMs'> {
    return { id, pipeline: this.#pipeline, input: label, atMs: this.#clock.nowAtMs() };
  }

  #sinceMs({ startMonoMs }: Subject): number {
    return round(this.#clock.nowMonoMs() - startMonoMs);
  }
}

/** Microseconds are noise. */
const round = (ms: number): number => Math.round(ms * 100) / 100;
