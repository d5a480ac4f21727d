/**
 * Requests of devices in, replies out. READ THIS FIRST.
 *
 *   frame -> decode -> admit -> once (same id, same reply) -> submit (batcher, runner) -> reply, usage line
 *   first chunk -> decode -> admit -> transfers.ts <- more chunks; whole -> once -> …
 *
 * The device is taken from the topic, never from the header. Whatever a device sends, this process goes on.
 */

import { decodeEnvelope } from '../../shared/contract/envelope.ts';
import { MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES } from '../../shared/contract/limits.ts';
import {
  type ChunkHeader,
  chunkHeader,
  type ReplyError,
  requestHeader,
} from '../../shared/contract/messages.ts';
import { requestId } from '../../shared/contract/names.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, isAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { BucketLimits } from '../../shared/runtime/token-bucket.ts';
import type { DeviceBook, DeviceLink, Inferencer, ModelCatalog, SharedInput, UsageLedger } from '../ports.ts';
import { Admission } from './admission.ts';
import { Answerer } from './answerer.ts';
import { DEFAULT_ONCE_LIMITS, Once, type ReplyLog, type Seen } from './once.ts';
import type { KeptReply } from './reply-journal.ts';
import { type DeviceRequest, failureFrame } from './request.ts';
import type { SetAside } from './set-aside.ts';
import { type TransferLimits, Transfers } from './transfers.ts';

/** Link that requests come in by, who may ask, and what answers them. */
export interface IntakeOptions {
  readonly link: DeviceLink;
  readonly devices: Pick<DeviceBook, 'isActive'>;
  readonly models: ModelCatalog;
  readonly inferencer: Inferencer;
  readonly usage: UsageLedger;
  /** Keeps replies over a restart; undefined: they are remembered in memory only. */
  readonly replies?: ReplyLog;
  readonly setAside?: Pick<SetAside, 'put'>;
  /** Takes inputs that people may see; undefined: nobody looks here. */
  readonly gallery?: Pick<DeviceBook, 'inputShared'>;
  readonly transferLimits?: TransferLimits;
  readonly rate?: BucketLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A device counts the input alone; the header comes on top. */
const MAX_FRAME_BYTES = MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES;
/** As an acknowledgement: whatever their number, they have all come. */
const ALL_CHUNKS = 65_536;

/** The way of every request of a device. */
export class Intake implements Part {
  readonly #o: IntakeOptions;
  readonly #once: Once;
  readonly #transfers: Transfers;
  readonly #admission: Admission;
  readonly #answerer: Answerer;
  readonly #work = new Set<Promise<void>>();
  #taking = false;

  constructor(options: IntakeOptions) {
    this.#o = options;
    const { devices, clock, replies, rate, transferLimits } = options;
    this.#once = new Once(clock, DEFAULT_ONCE_LIMITS, replies);
    this.#transfers = new Transfers(clock, transferLimits);
    this.#admission = new Admission({ devices, clock, rate });
    this.#answerer = new Answerer(options);
  }

  /** Replies of an earlier run, oldest first. */
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

  /** Requests that are being worked on are answered first. */
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
    // A device that may not ask may not send chunks either: silence, as its first chunk was refused with a word.
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
  async #begin(request: DeviceRequest): Promise<void> {
    const { device, header, body } = request;
    const refused = this.#admission.refuses(request);
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

  #refuse({ device, header }: DeviceRequest, refused: ReplyError): Promise<void> {
    this.#o.metrics.count('outrider_requests_total', {
      model: this.#answerer.labelOf(header.model),
      outcome: 'refused',
    });
    return this.#send(device, failureFrame(header.id, refused));
  }

  #watch(handling: Promise<void>, deviceId: string, requestId: string): void {
    const work = handling.catch((error: unknown) =>
      this.#o.logger.failure('intake.failed', error, { deviceId, requestId }),
    );
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }

  #decode(device: string, frame: Uint8Array): DeviceRequest | undefined {
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
    const reply = failureFrame(id.data, toErrorBody(error));
    this.#watch(this.#send(device, reply), device, id.data);
  }

  async #handle(request: DeviceRequest): Promise<void> {
    const refused = this.#admission.refuses(request);
    return refused ? this.#refuse(request, refused) : this.#answerOnce(request);
  }

  /** Admitted, and here as a whole. */
  async #answerOnce(request: DeviceRequest): Promise<void> {
    const { device, header } = request;
    const seen = this.#once.begin(device, header.id);
    if (seen.state !== 'new') {
      this.#o.metrics.count('outrider_requests_total', {
        model: this.#answerer.labelOf(header.model),
        outcome: 'repeated',
      });
      if (seen.state === 'answered') await this.#send(device, seen.frame);
      return;
    }
    await this.#admission.during(device, () => this.#answer(request));
  }

  async #answer(request: DeviceRequest): Promise<void> {
    const { device, header, arrivedMonoMs } = request;
    const { frame, error, usage, reply } = await this.#answerer.answer(request);
    const isFinal = !error || ERRORS[error.code].retry === 'never';
    // Counted once the reply outlives this process: whoever asks again later is answered from it, and not counted again.
    this.#once.end(device, header.id, isFinal ? frame : undefined, () => {
      if (usage) this.#o.usage.record(usage);
    });
    const model = this.#answerer.labelOf(header.model);
    this.#o.metrics.count('outrider_requests_total', { model, outcome: error ? 'failed' : 'answered' });
    this.#o.metrics.observeSeconds(
      'outrider_request_seconds',
      { model },
      (this.#o.clock.nowMonoMs() - arrivedMonoMs) / 1000,
    );
    // Only what a model could read, and once the answer is there: it waits for nothing of this.
    if (header.shareInput === true && reply) this.#share(request, reply);
    await this.#send(device, frame);
  }

  #share({ device, header, body }: DeviceRequest, answer: SharedInput['answer']): void {
    const { id, pipeline, model, task, contentType, parameters, edge } = header;
    const from = { deviceId: device, requestId: id, pipeline };
    this.#o.gallery?.inputShared({ ...from, model, task, contentType, parameters, body, edge, answer });
  }

  /** A reply that does not get out is asked for again, and then comes from `once`. */
  async #send(device: string, frame: Uint8Array): Promise<void> {
    this.#o.metrics.count('outrider_link_bytes_total', { direction: 'down', purpose: 'reply' }, frame.length);
    await this.#o.link.reply(device, frame);
  }
}
