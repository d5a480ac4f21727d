/** Statistics of each model since the hub started, in memory: what Triton's clients and those who size machines ask for. */
import type { Clock } from '../../shared/runtime/clock.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import type { InferenceReply, InferenceRequest, Inferencer, ModelCounts, ModelStatistics } from '../ports.ts';

type Counts = { -readonly [K in keyof ModelCounts]: ModelCounts[K] };

/** An inferencer that counts what another one does. */
export class CountingInferencer implements Inferencer, ModelStatistics {
  readonly #inner: Inferencer;
  readonly #clock: Clock;
  /** By model: no more than there are models. */
  readonly #counts = new Map<string, Counts>();

  constructor(inner: Inferencer, clock: Clock) {
    this.#inner = inner;
    this.#clock = clock;
  }

  countsOf(model: string): ModelCounts | undefined {
    return this.#counts.get(model);
  }

  async infer(request: InferenceRequest): Promise<InferenceReply> {
    const startedMonoMs = this.#clock.nowMonoMs();
    const took = (): number => this.#clock.nowMonoMs() - startedMonoMs;
    try {
      const reply = await this.#inner.infer(request);
      this.#countAnswer(request.model, reply, took());
      return reply;
    } catch (error) {
      // The name of a model that is not there is the caller's choice.
      if (!isAppError(error, 'MODEL_UNKNOWN')) {
        const counts = this.#of(request.model);
        counts.failed += 1;
        counts.failedMs += took();
      }
      throw error;
    }
  }

  #countAnswer(model: string, { timingsMs, batchSize = 1 }: InferenceReply, tookMs: number): void {
    const counts = this.#of(model);
    counts.lastAtMs = this.#clock.nowAtMs();
    counts.answered += 1;
    counts.answeredMs += tookMs;
    counts.runs += 1 / batchSize;
    counts.queueMs += timingsMs.queue;
    counts.preprocessMs += timingsMs.preprocess;
    counts.inferenceMs += timingsMs.inference;
  }

  #of(model: string): Counts {
    const known = this.#counts.get(model);
    if (known) return known;
    const none = {
      ...{ lastAtMs: 0, answered: 0, answeredMs: 0, failed: 0, failedMs: 0 },
      ...{ runs: 0, queueMs: 0, preprocessMs: 0, inferenceMs: 0 },
    };
    this.#counts.set(model, none);
    return none;
  }
}
