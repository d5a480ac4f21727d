/**
 * Requests of devices in, replies out. READ THIS FIRST.
 *
 *   frame -> decode -> admit -> once (same id, same reply) -> submit (batcher, runner) -> reply, usage line
 *   first chunk -> decode -> admit -> transfers.ts <- more chunks; whole -> once -> …
 *
 * The device is taken from the topic, never from the header. Whatever a device sends, this process goes on.
 */
import { decodeEnvelope, encodeEnvelope } from '../../shared/contract/envelope.ts';
import { MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES } from '../../shared/contract/limits.ts';
import {
  type ChunkHeader,
  chunkHeader,
  type ReplyError,
  type ReplyHeader,
  type RequestHeader,
  requestHeader,
} from '../../shared/contract/messages.ts';
import { requestId } from '../../shared/contract/names.ts';
import { TASKS, type TaskInput } from '../../shared/contract/tasks.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, isAppError, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type {
  DeviceBook,
  DeviceLink,
  InferenceReply,
  Inferencer,
  ModelCatalog,
  UsageLedger,
  UsageLine,
} from '../ports.ts';
import { DEFAULT_ONCE_LIMITS, Once, type ReplyLog, type Seen } from './once.ts';
import { Rate, type RateLimits } from './rate.ts';
import type { KeptReply } from './reply-journal.ts';
import type { SetAside } from './set-aside.ts';
import { Strikes } from './strikes.ts';
import { type TransferLimits, Transfers } from './transfers.ts';

export interface IntakeOptions {
  readonly link: DeviceLink;
  readonly devices: Pick<DeviceBook, 'isActive'>;
  readonly models: ModelCatalog;
  readonly inferencer: Inferencer;
  readonly usage: UsageLedger;
  /** Keeps replies over a restart; undefined: they are remembered in memory only. */
  readonly replies?: ReplyLog;
  readonly setAside?: Pick<SetAside, 'put'>;
  readonly transferLimits?: TransferLimits;
  readonly rate?: RateLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Requests of one device that are worked on at a time: one device cannot fill the queue. */
const MAX_PER_DEVICE = 64;
/** A device counts the input alone; the header comes on top. */
const MAX_FRAME_BYTES = MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES;
const RETRY_AFTER_MS = 500;
/** As an acknowledgement: whatever their number, they have all come. */
const ALL_CHUNKS = 65_536;

interface Request {
  readonly device: string;
  readonly header: RequestHeader;
  readonly body: Uint8Array;
  readonly arrivedMonoMs: number;
}

export class Intake implements Part {
  readonly #o: IntakeOptions;
  readonly #once: Once;
  readonly #transfers: Transfers;
  readonly #rate: Rate;
  readonly #strikes = new Strikes();
  readonly #perDevice = new Map<string, number>();
  readonly #work = new Set<Promise<void>>();
  #taking = false;

  constructor(options: IntakeOptions) {
    this.#o = options;
    const { clock, replies, rate, transferLimits } = options;
    this.#once = new Once(clock, DEFAULT_ONCE_LIMITS, replies);
    this.#transfers = new Transfers(clock, transferLimits);
    this.#rate = new Rate(clock, rate);
  }

  /** What an earlier run has answered, oldest first. */
  restore(replies: readonly KeptReply[]): void {
    this.#once.restore(replies);
  }

  /** Large requests that are on their way in. */
  get transfers(): { readonly count: number; readonly bytes: number } {
    return this.#transfers;
  }

  start(): void {
    this.#taking = true;
    this.#o.link.onRequest((device, frame) => this.#onFrame(device, frame));
    this.#o.link.onChunk((device, frame) => this.#onChunk(device, frame));
  }

  /** What is being worked on is answered first. */
  async stop(): Promise<void> {
    this.#taking = false;
    this.#transfers.stop();
    await Promise.all(this.#work);
  }

  #onFrame(device: string, frame: Uint8Array): void {
    if (!this.#taking) return;
    this.#o.metrics.count('outrider_link_bytes_total', { direction: 'up', purpose: 'request' }, frame.length);
    const request = this.#decode(device, frame);
    if (!request) return;
    const handling = request.header.chunk ? this.#begin(request) : this.#handle(request);
    this.#watch(handling, device, request.header.id);
  }

  #onChunk(device: string, frame: Uint8Array): void {
    // Who may not ask may not send chunks either: silence, as its first chunk was refused with a word.
    if (!this.#taking || !this.#o.devices.isActive(device)) return;
    this.#o.metrics.count('outrider_link_bytes_total', { direction: 'up', purpose: 'request' }, frame.length);
    try {
      const { header, body } = decodeEnvelope(frame, chunkHeader);
      this.#watch(this.#takeChunk(device, header, body), device, header.id);
    } catch (error) {
      this.#o.logger.failure('intake.malformed', error, { deviceId: device, bytes: frame.length });
    }
  }

  /** The first chunk of a large request. */
  async #begin(request: Request): Promise<void> {
    const { device, header, body } = request;
    const refused = this.#admit(request);
    if (refused) return this.#refuse(request, refused);
    const seen = this.#once.look(device, header.id);
    if (seen.state !== 'new') return this.#repeat(device, header.id, seen);
    const full = this.#transfers.begin(device, header, body);
    if (full) return this.#refuse(request, full);
    await this.#o.link.acknowledge(device, header.id, 1);
  }

  async #takeChunk(device: string, chunk: ChunkHeader, body: Uint8Array): Promise<void> {
    const seen = this.#once.look(device, chunk.id);
    if (seen.state !== 'new') return this.#repeat(device, chunk.id, seen);
    const { next, arrived } = this.#transfers.take(device, chunk, body);
    const acknowledged = this.#o.link.acknowledge(device, chunk.id, next);
    // Beside it: the link may be lost while the model works, and a failure that nobody waits for yet would end this process.
    if (arrived) this.#watch(this.#answerOnce({ device, ...arrived }), device, chunk.id);
    await acknowledged;
  }

  /** It has been answered, or is being worked on: that is said again. */
  async #repeat(device: string, id: string, seen: Exclude<Seen, { state: 'new' }>): Promise<void> {
    if (seen.state === 'answered') await this.#send(device, seen.frame);
    else await this.#o.link.acknowledge(device, id, ALL_CHUNKS);
  }

  #refuse({ device, header }: Request, refused: ReplyError): Promise<void> {
    this.#o.metrics.count('outrider_requests_total', {
      model: this.#label(header.model),
      outcome: 'refused',
    });
    return this.#send(device, encodeEnvelope(failedHeader(header.id, refused)));
  }

  #watch(handling: Promise<void>, deviceId: string, requestId: string): void {
    const work = handling.catch((error: unknown) =>
      this.#o.logger.failure('intake.failed', error, { deviceId, requestId }),
    );
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }

  #decode(device: string, frame: Uint8Array): Request | undefined {
    try {
      if (frame.length > MAX_FRAME_BYTES)
        throw new AppError(
          'MESSAGE_MALFORMED',
          `the message has ${frame.length} bytes, at most ${MAX_FRAME_BYTES} go`,
        );
      const { header, body } = decodeEnvelope(frame, requestHeader);
      return { device, header, body, arrivedMonoMs: this.#o.clock.nowMonoMs() };
    } catch (error) {
      this.#o.metrics.count('outrider_requests_total', { model: '', outcome: 'malformed' });
      this.#o.logger.failure('intake.malformed', error, { deviceId: device, bytes: frame.length });
      if (this.#o.devices.isActive(device)) this.#o.setAside?.put('malformed', device, frame);
      this.#refuseMalformed(device, error);
      return undefined;
    }
  }

  /** Without an id there is nobody to answer: the device hears of it by silence. With one it would ask until the expiry. */
  #refuseMalformed(device: string, error: unknown): void {
    const id = requestId.safeParse(isAppError(error) ? error.details?.id : undefined);
    if (!id.success || !this.#o.devices.isActive(device)) return;
    const reply = encodeEnvelope(failedHeader(id.data, toErrorBody(error)));
    this.#watch(this.#send(device, reply), device, id.data);
  }

  async #handle(request: Request): Promise<void> {
    const refused = this.#admit(request);
    return refused ? this.#refuse(request, refused) : this.#answerOnce(request);
  }

  /** Admitted, and here as a whole. */
  async #answerOnce(request: Request): Promise<void> {
    const { device, header } = request;
    const seen = this.#once.begin(device, header.id);
    if (seen.state !== 'new') {
      this.#o.metrics.count('outrider_requests_total', {
        model: this.#label(header.model),
        outcome: 'repeated',
      });
      if (seen.state === 'answered') await this.#send(device, seen.frame);
      return;
    }
    this.#perDevice.set(device, (this.#perDevice.get(device) ?? 0) + 1);
    try {
      await this.#answer(request);
    } finally {
      const left = (this.#perDevice.get(device) ?? 1) - 1;
      if (left > 0) this.#perDevice.set(device, left);
      else this.#perDevice.delete(device);
    }
  }

  /** @returns why the request is turned away before it costs anything; undefined when it may go on */
  #admit({ device, header }: Request): ReplyError | undefined {
    if (!this.#o.devices.isActive(device))
      return { code: 'LINK_REFUSED', message: 'this device is not enrolled here, or revoked' };
    if (header.expiresMs <= 0) return { code: 'EXPIRED', message: ERRORS.EXPIRED.meaning };
    const waitMs = this.#rate.take(device);
    if (waitMs > 0)
      return {
        code: 'RATE_LIMITED',
        message: 'this device asks too often',
        retryAfterMs: waitMs,
      };
    if ((this.#perDevice.get(device) ?? 0) >= MAX_PER_DEVICE) {
      return {
        code: 'QUEUE_FULL',
        message: `${MAX_PER_DEVICE} requests of this device are being worked on`,
        retryAfterMs: RETRY_AFTER_MS,
      };
    }
    return undefined;
  }

  async #answer(request: Request): Promise<void> {
    const { device, header, arrivedMonoMs } = request;
    const { frame, error, usage } = await this.#infer(request);
    const isFinal = !error || ERRORS[error.code].retry === 'never';
    // Counted once the reply outlives this process: whoever asks again later is answered from it, and not counted again.
    this.#once.end(device, header.id, isFinal ? frame : undefined, () => {
      if (usage) this.#o.usage.record(usage);
    });
    const model = this.#label(header.model);
    this.#o.metrics.count('outrider_requests_total', { model, outcome: error ? 'failed' : 'answered' });
    this.#o.metrics.observeSeconds(
      'outrider_request_seconds',
      { model },
      (this.#o.clock.nowMonoMs() - arrivedMonoMs) / 1000,
    );
    await this.#send(device, frame);
  }

  /** The finished frame; a failure is a frame too. */
  async #infer(request: Request): Promise<{ frame: Buffer; error?: ReplyError; usage?: UsageLine }> {
    const { device, header, body, arrivedMonoMs } = request;
    try {
      const reply = await this.#o.inferencer.infer({
        model: header.model,
        input: this.#input(header, body),
        deadlineMonoMs: arrivedMonoMs + header.deadlineMs,
        expiresMonoMs: arrivedMonoMs + header.expiresMs,
      });
      const model = this.#label(header.model);
      this.#o.metrics.observeSeconds(
        'outrider_inference_seconds',
        { model },
        reply.timingsMs.inference / 1000,
      );
      const usage: UsageLine = {
        atMs: this.#o.clock.nowAtMs(),
        who: device,
        requestId: header.id,
        model: reply.model,
        inputBytes: body.length,
        inferenceMs: reply.timingsMs.inference,
      };
      return {
        usage,
        frame: encodeEnvelope(
          this.#okHeader(header.id, reply, arrivedMonoMs),
          Buffer.from(JSON.stringify(reply.output)),
        ),
      };
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
      return { frame: encodeEnvelope(failedHeader(header.id, error)), error };
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

  #okHeader(id: string, { model, timingsMs }: InferenceReply, arrivedMonoMs: number): ReplyHeader {
    const total = this.#o.clock.nowMonoMs() - arrivedMonoMs;
    return { id, ok: true, contentType: 'application/json', model, timingsMs: { ...timingsMs, total } };
  }

  /** A reply that does not get out is asked for again, and then comes from `once`. */
  async #send(device: string, frame: Uint8Array): Promise<void> {
    this.#o.metrics.count('outrider_link_bytes_total', { direction: 'down', purpose: 'reply' }, frame.length);
    await this.#o.link.reply(device, frame);
  }

  /** A metric's label must not grow with what strangers send. */
  #label(model: string): string {
    try {
      return this.#o.models.resolve(model).ref.name;
    } catch {
      return 'unknown';
    }
  }
}

const failedHeader = (id: string, error: ReplyError): ReplyHeader => ({ id, ok: false, error });
