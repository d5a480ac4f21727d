/**
 * Questions over HTTP, whichever face they come by. READ THIS FIRST.
 *
 *   question -> admit (quotas of the key) -> ask (the inferencer, each element by itself) -> wait for all
 *            -> a usage line for each that was answered -> replies, or the first failure
 *
 * An element that fails takes none of the others out of the ledger: what a runner has worked for is counted.
 */
import { DEFAULT_DEADLINE_MS } from '../../shared/contract/limits.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import type {
  Asking,
  InferenceReply,
  InferenceRequest,
  Inferencer,
  KeyAdmission,
  ModelCatalog,
  Question,
  UsageLedger,
} from '../ports.ts';

/** Quotas, models and the usage ledger that a question meets on its way. */
export interface HttpAskingOptions {
  readonly admission: KeyAdmission;
  readonly models: ModelCatalog;
  readonly inferencer: Inferencer;
  readonly usage: UsageLedger;
  readonly clock: Clock;
}

/** Asks for all faces over HTTP. */
export class HttpAsking implements Asking {
  readonly #o: HttpAskingOptions;

  constructor(options: HttpAskingOptions) {
    this.#o = options;
  }

  async ask(question: Question): Promise<InferenceReply[]> {
    const { ref, task } = this.#o.models.resolve(question.model);
    await this.#admit(question, ref);
    const heard = { tokens: 0 };
    const request = requestOf(question, heard);
    // A generation takes long enough to be worth stopping.
    const signal = TASKS[task].runsOn === 'hub' ? question.signal : undefined;
    // All are waited for: the memory of the inputs is theirs until then.
    const settled = await Promise.allSettled(
      question.inputs.map((input) =>
        this.#o.inferencer.infer({ ...request, input, ...(signal && { signal }) }),
      ),
    );
    this.#count(question, { settled, ref, heardTokens: heard.tokens });
    return settled.map((one) => {
      if (one.status === 'rejected') throw one.reason;
      return one.value;
    });
  }

  /** @throws the refusal, with the time to wait where there is one */
  async #admit({ who, inputs }: Question, model: ModelRef): Promise<void> {
    const inputBytes = inputs.reduce((sum, { body }) => sum + body.length, 0);
    const refusal = await this.#o.admission.refuses(who, { model, elements: inputs.length, inputBytes });
    if (!refusal) return;
    const { code, message, retryAfterMs } = refusal;
    throw new AppError(code, message, retryAfterMs === undefined ? {} : { details: { retryAfterMs } });
  }

  #count(
    question: Question,
    {
      settled,
      ref,
      heardTokens,
    }: {
      readonly settled: readonly PromiseSettledResult<InferenceReply>[];
      readonly ref: ModelRef;
      readonly heardTokens: number;
    },
  ): void {
    for (const [index, one] of settled.entries()) {
      if (one.status === 'fulfilled')
        this.#record(question, index, one.value.model, one.value.timingsMs.inference);
      // A caller who leaves in the middle of a generation has had its tokens.
      else if (heardTokens > 0 && question.signal?.aborted)
        this.#record(question, index, ref, this.#o.clock.nowMonoMs() - question.arrivedMonoMs);
    }
  }

  /** Each element is a request of its own to the models, and to the ledger. */
  #record(question: Question, index: number, model: ModelRef, inferenceMs: number): void {
    const { who, requestId, inputs } = question;
    this.#o.usage.record({
      atMs: this.#o.clock.nowAtMs(),
      who: who.id,
      requestId: index === 0 ? requestId : `${requestId}.${index}`,
      model,
      inputBytes: inputs[index]?.body.length ?? 0,
      inferenceMs,
    });
  }
}

/** @param heard counts the tokens that the caller has been told */
function requestOf(
  { model, who, arrivedMonoMs, expiresMs, onToken }: Question,
  heard: { tokens: number },
): Omit<InferenceRequest, 'input' | 'signal'> {
  const times = {
    deadlineMonoMs: arrivedMonoMs + Math.min(DEFAULT_DEADLINE_MS, expiresMs),
    expiresMonoMs: arrivedMonoMs + expiresMs,
  };
  const { id, priority = 'interactive' } = who;
  const caller = `key ${id}`;
  if (!onToken) return { model, caller, priority, ...times };
  return {
    ...{ model, caller, priority },
    ...times,
    onToken: (token, isLast) => {
      heard.tokens += 1;
      onToken(token, isLast);
    },
  };
}
