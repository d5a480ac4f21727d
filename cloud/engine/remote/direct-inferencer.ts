/** Requests to a runner one by one, side by side: for a graph whose server makes the batches itself. */
import { AppError } from '../../../shared/runtime/errors.ts';
import type { InferenceReply, InferenceRequest, Inferencer, RunnerPool } from '../../ports.ts';

/** Prepares and runs each request by itself. */
export class DirectInferencer implements Inferencer {
  readonly #pool: RunnerPool;

  constructor(pool: RunnerPool) {
    this.#pool = pool;
  }

  async infer({ model, input, signal }: InferenceRequest): Promise<InferenceReply> {
    const lease = await this.#pool.lease(model);
    try {
      const { handle } = await lease.prepare(input);
      const [outcome] = await lease.run([handle], { signal });
      if (!outcome) throw new AppError('INVARIANT_BROKEN', 'an answer is missing');
      if (!outcome.ok) throw new AppError(outcome.error.code, outcome.error.message);
      const { output, read, timingsMs } = outcome.value;
      return { output, model: lease.ref, ...(read && { read }), timingsMs: { queue: 0, ...timingsMs } };
    } finally {
      lease.giveBack();
    }
  }
}
