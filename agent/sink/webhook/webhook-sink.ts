/**
 * Results to a webhook, as Standard Webhooks has it: signed, each with an id that stays the same at each try, kept on disk until it is
 * taken. A Result is safe once it is in the queue: whoever is behind the address holds up nobody.
 *
 * answer                 | what becomes of the message
 * 2xx                    | taken
 * 400, 413, 415, 422     | tried a few times, then given up: it is this message that is not liked
 * 410                    | all is given up, and nothing more is sent until the next start
 * any other, or none     | tried again, after `Retry-After` or with backoff, until it is over a bound
 */
import { Webhook } from 'standardwebhooks';
import { isFailure, type Result } from '../../../shared/contract/result.ts';
import { backoffDelayMs } from '../../../shared/runtime/backoff.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../../shared/runtime/errors.ts';
import type { Part } from '../../../shared/runtime/lifecycle.ts';
import { VERSION } from '../../../shared/runtime/version.ts';
import type { Kept, PictureOf, PictureWish, Sink, TellSink } from '../../ports.ts';
import { post, type WebhookAnswer, type WebhookPlace } from './post.ts';
import type { Message, WebhookQueue } from './queue.ts';

/** Where to, by which secret, and what waits. */
export interface WebhookOptions {
  readonly place: WebhookPlace;
  /** `whsec_…`; undefined: requests are not signed. */
  readonly secret: string | undefined;
  readonly device: string;
  /** undefined: no pictures go along. */
  readonly pictureOf: PictureOf | undefined;
  readonly queue: WebhookQueue;
  /** A message has left, whatever was answered. @param id of the Result */
  readonly onSent?: (id: string, bytes: number) => void;
  readonly tell: TellSink;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

const RETRY = { firstMs: 1_000, maxMs: 5 * 60_000 };
/** Whoever asks for more patience than this is asked again after it. */
const MAX_RETRY_AFTER_MS = 3_600_000;
/** Of the message itself. */
const MESSAGE_REFUSED: ReadonlySet<number> = new Set([400, 413, 415, 422]);
const MESSAGE_TRIES = 3;
const GONE = 410;
/** In base64 it is a third larger. */
const PICTURE: PictureWish = { longestPx: 640, annotate: true, maxBytes: 256 * 1024 };
/** Bounds hold also while nothing comes. */
const SWEEP_EVERY_MS = 60_000;

/** Sink that posts Results to a webhook. */
export class WebhookSink implements Sink, Part {
  readonly name: string;
  readonly tell: TellSink;
  readonly #o: WebhookOptions;
  readonly #signer: Webhook | undefined;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  /** Something has come since the queue was last looked at. */
  #isDue = false;
  #isGone = false;

  constructor(name: string, options: WebhookOptions) {
    this.name = name;
    this.tell = options.tell;
    this.#o = options;
    this.#signer = options.secret === undefined ? undefined : new Webhook(options.secret);
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new AppError('STOPPING'));
    this.#wake();
    await this.#running;
    await this.#o.queue.close();
  }

  /** @throws DISK_FULL, or as the system says */
  async put(result: Result): Promise<void> {
    if (this.#isGone) return this.tell.dropped('disabled');
    const { queue, clock } = this.#o;
    const kind = kindOf(result);
    const picture = await this.#picture(result);
    const body = JSON.stringify({
      type: `result.${kind}`,
      timestamp: new Date(result.atMs).toISOString(),
      data: { device: this.#o.device, ...result, ...(picture && { picture }) },
    });
    try {
      await queue.put({ id: `${result.id}.${kind}`, atMs: clock.nowAtMs(), body });
      await this.#sweep();
    } catch (error) {
      this.tell.refused(toAppError(error));
      throw error;
    }
    this.#isDue = true;
    this.#wake();
  }

  /** What waits, in the quota. */
  kept(path: string): Kept {
    const { queue } = this.#o;
    return {
      kind: 'webhooks',
      path,
      look: async () => ({ bytes: queue.fileBytes, oldestAtMs: queue.oldestAtMs }),
      giveBack: async (wanted) => {
        const { count, bytes } = await queue.giveBack(wanted);
        if (count > 0) this.tell.dropped('over-bytes', count);
        return bytes;
      },
    };
  }

  async #picture(result: Result): Promise<{ contentType: string; base64: string } | undefined> {
    const { pictureOf } = this.#o;
    if (!pictureOf || isFailure(result)) return undefined;
    const picture = await pictureOf(result, PICTURE);
    return picture && { contentType: 'image/jpeg', base64: Buffer.from(picture).toString('base64') };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let attempt = 0;
    while (!signal.aborted) {
      try {
        this.#isDue = false;
        await this.#sweep();
        const message = await this.#o.queue.oldest();
        if (!message || this.#isGone) {
          await this.#pause(SWEEP_EVERY_MS);
          continue;
        }
        const waitMs = await this.#send(message, attempt);
        attempt = waitMs === 0 ? 0 : attempt + 1;
        if (waitMs > 0) await this.#o.clock.sleep(waitMs, signal).catch(() => undefined);
      } catch (error) {
        if (signal.aborted) return;
        this.tell.refused(toAppError(error));
        await this.#o.clock.sleep(this.#backoffMs(attempt++), signal).catch(() => undefined);
      }
    }
  }

  /** Until something comes, or for a while. */
  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#o.clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
      if (this.#isDue || this.#stopping.signal.aborted) this.#wake();
    });
  }

  /** @returns milliseconds to wait before the next try; 0: on with the next message */
  async #send(message: Message, attempt: number): Promise<number> {
    const { place, queue, clock } = this.#o;
    const answer = await post(
      place,
      this.#headers(message),
      Buffer.from(message.body),
      this.#stopping.signal,
    );
    const { status } = answer;
    this.#o.onSent?.(message.id.replace(/\.\w+$/, ''), Buffer.byteLength(message.body));
    if (status >= 200 && status < 300) {
      await queue.done(message.id);
      this.tell.delivered();
      return 0;
    }
    if (status === GONE) {
      this.#isGone = true;
      this.tell.dropped('disabled', await queue.clear());
      this.tell.disabled(new AppError('WEBHOOK_GONE', `${this.#host} answered 410`));
      return 0;
    }
    this.tell.refused(new AppError('WEBHOOK_REFUSED', `${this.#host} answered ${status}`));
    if (MESSAGE_REFUSED.has(status) && attempt + 1 >= MESSAGE_TRIES) {
      await queue.done(message.id);
      this.tell.dropped('lost');
      return 0;
    }
    return retryAfterMs(answer, clock.nowAtMs()) ?? this.#backoffMs(attempt);
  }

  /** Standard Webhooks, "Webhook Headers". The time is that of the try. */
  #headers({ id, body }: Message): Record<string, string> {
    const at = new Date(this.#o.clock.nowAtMs());
    return {
      'content-type': 'application/json',
      'user-agent': `outrider/${VERSION}`,
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      ...(this.#signer && { 'webhook-signature': this.#signer.sign(id, at, body) }),
    };
  }

  async #sweep(): Promise<void> {
    const { queue, clock } = this.#o;
    const { overAge, overBytes } = await queue.sweep(clock.nowAtMs());
    if (overBytes > 0) this.tell.dropped('over-bytes', overBytes);
    if (overAge > 0) this.tell.dropped('over-age', overAge);
  }

  /** At least half of it: one that is down is not asked in a burst. */
  #backoffMs(attempt: number): number {
    const { random } = this.#o;
    const half = { firstMs: RETRY.firstMs / 2, maxMs: RETRY.maxMs / 2 };
    return (
      Math.min(half.maxMs, half.firstMs * 2 ** Math.min(attempt, 30)) +
      backoffDelayMs(attempt, { ...half, ...(random && { random }) })
    );
  }

  get #host(): string {
    return new URL(this.#o.place.url).host;
  }
}

const kindOf = (result: Result): 'failed' | 'provisional' | 'final' =>
  isFailure(result) ? 'failed' : result.provisional ? 'provisional' : 'final';

/** RFC 9110 10.2.3: seconds, or a date. */
function retryAfterMs({ retryAfter }: WebhookAnswer, nowAtMs: number): number | undefined {
  if (retryAfter === undefined) return undefined;
  const delayMs = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1_000 : Date.parse(retryAfter) - nowAtMs;
  return Number.isNaN(delayMs) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(RETRY.firstMs, delayMs));
}
