/** From an admitted request to the frame that answers it: the input is checked, the model runs, and a failure is a frame too. */
import { encodeEnvelope } from '../../shared/contract/envelope.ts';
import { MAX_REPLY_BYTES } from '../../shared/contract/limits.ts';
import type { ReplyError, ReplyHeader, RequestHeader } from '../../shared/contract/messages.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, isAppError, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { TASKS, type TaskInput } from '../../shared/tasks/tasks.ts';
import type { InferenceReply, Inferencer, ModelCatalog, UsageLine } from '../ports.ts';
import { type DeviceRequest, failureFrame } from './request.ts';
import type { SetAside } from './set-aside.ts';
import { Strikes } from './strikes.ts';

/** Models to ask, and where a poison message is set aside. */
export interface AnswererOptions {
  readonly models: ModelCatalog;
  readonly inferencer: Inferencer;
  readonly setAside?: Pick<SetAside, 'put'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A frame that goes back, and what is counted for it. */
export interface Answered {
  readonly frame: Buffer;
  /** Why there is no answer. */
  readonly error?: ReplyError;
  /** Line of the ledger that it costs. */
  readonly usage?: UsageLine;
  /** What has been answered, where it has. */
  readonly reply?: InferenceReply;
}

const RETRY_AFTER_MS = 500;

/** Answers requests that have been admitted. */
export class Answerer {
  readonly #o: AnswererOptions;
  readonly #strikes = new Strikes();

  constructor(options: AnswererOptions) {
    this.#o = options;
  }

  /** The finished frame; a failure is a frame too. */
  async answer(request: DeviceRequest): Promise<Answered> {
    const { device, header, body, arrivedMonoMs } = request;
    try {
      const reply = await this.#o.inferencer.infer({
        model: header.model,
        caller: `device ${device}`,
        priority: header.background === true ? 'background' : 'device',
        input: this.#input(header, body),
        deadlineMonoMs: arrivedMonoMs + header.deadlineMs,
        expiresMonoMs: arrivedMonoMs + header.expiresMs,
      });
      const model = this.labelOf(header.model);
      this.#o.metrics.observeSeconds(
        'outrider_inference_seconds',
        { model },
        reply.timingsMs.inference / 1000,
      );
      const frame = this.#okFrame(header.id, reply, arrivedMonoMs);
      const usage: UsageLine = {
        atMs: this.#o.clock.nowAtMs(),
        who: device,
        requestId: header.id,
        model: reply.model,
        inputBytes: body.length,
        inferenceMs: reply.timingsMs.inference,
      };
      return { usage, frame, reply };
    } catch (thrown) {
      const known = this.#judged(toAppError(thrown), device, header.id);
      if (!isAppError(thrown) || ERRORS[known.code].kind !== 'caller')
        this.#o.logger.failure('intake.not_answered', thrown, { deviceId: device, requestId: header.id });
      if (known.code === 'INPUT_POISONOUS')
        this.#o.setAside?.put('poisonous', device, encodeEnvelope(header, body));
      const error: ReplyError = {
        ...toErrorBody(known),
        ...(ERRORS[known.code].retry === 'backoff' && { retryAfterMs: RETRY_AFTER_MS }),
      };
      return { frame: failureFrame(header.id, error), error };
    }
  }

  /** A runner may end by accident; an input that ends one after another is not tried for ever. */
  #judged(error: AppError, device: string, id: string): AppError {
    const endedRunner = error.code === 'RUNNER_CRASHED' || error.code === 'RUNNER_TIMEOUT';
    if (!endedRunner || !this.#strikes.isOut(device, id)) return error;
    return new AppError('INPUT_POISONOUS', undefined, { cause: error });
  }

  /** @throws MODEL_UNKNOWN, BAD_REQUEST (another task), PARAMETERS_INVALID */
  #input({ model, task, contentType, parameters }: RequestHeader, body: Uint8Array): TaskInput {
    const known = this.#o.models.resolve(model);
    if (known.task !== task) throw new AppError('BAD_REQUEST', `${model} does ${known.task}, not ${task}`);
    if (!parameters) return { contentType, body };
    const checked = TASKS[task].parameters.safeParse(parameters);
    if (!checked.success) throw new AppError('PARAMETERS_INVALID', checked.error.issues[0]?.message);
    return { contentType, body, parameters: checked.data };
  }

  /** @throws ANSWER_TOO_LARGE: no broker would take it, and the device would wait for nothing */
  #okFrame(id: string, reply: InferenceReply, arrivedMonoMs: number): Buffer {
    const body = Buffer.from(JSON.stringify(reply.output));
    const frame = encodeEnvelope(this.#okHeader(id, reply, arrivedMonoMs), body);
    if (frame.length <= MAX_REPLY_BYTES) return frame;
    throw new AppError(
      'ANSWER_TOO_LARGE',
      `the answer has ${frame.length} bytes, the limit over MQTT is ${MAX_REPLY_BYTES}`,
    );
  }

  #okHeader(id: string, { model, timingsMs }: InferenceReply, arrivedMonoMs: number): ReplyHeader {
    const total = this.#o.clock.nowMonoMs() - arrivedMonoMs;
    return { id, ok: true, contentType: 'application/json', model, timingsMs: { ...timingsMs, total } };
  }

  /** A metric's label must not grow with what strangers send. */
  labelOf(model: string): string {
    try {
      return this.#o.models.resolve(model).ref.name;
    } catch {
      return 'unknown';
    }
  }
}
