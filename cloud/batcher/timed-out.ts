/** Inputs that took a runner too long: each would end a runner, with everything in it, once more. */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { InferenceRequest } from '../ports.ts';

/** They are not tried again for so long, and so many are remembered. */
const TIMED_OUT_MS = 10 * 60_000;
const MAX_TIMED_OUT = 1_000;

/** Memory of inputs that have timed out. */
export class TimedOut {
  readonly #clock: Clock;
  /** Model and digest -> until when they are refused. */
  readonly #until = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws RUNNER_TIMEOUT for what took too long a moment ago */
  refuse(request: InferenceRequest): void {
    // Nearly always: an input is digested only where one has timed out.
    if (this.#until.size === 0) return;
    const untilMonoMs = this.#until.get(identityOf(request));
    if (untilMonoMs !== undefined && this.#clock.nowMonoMs() < untilMonoMs)
      throw new AppError(
        'RUNNER_TIMEOUT',
        `${request.model} took too long over this very input a moment ago, and it is not tried again yet`,
      );
  }

  remember(request: InferenceRequest): void {
    const nowMonoMs = this.#clock.nowMonoMs();
    for (const [identity, untilMonoMs] of this.#until)
      if (untilMonoMs <= nowMonoMs || this.#until.size >= MAX_TIMED_OUT) this.#until.delete(identity);
    this.#until.set(identityOf(request), nowMonoMs + TIMED_OUT_MS);
  }
}

/** SHA-256 over everything that an answer depends on. */
function identityOf({ model, input }: InferenceRequest): string {
  const { contentType, body, parameters = {} } = input;
  return sha256Hex(`${model}\n${contentType}\n${JSON.stringify(parameters)}\n${sha256Hex(body)}`);
}
