/** Whether a request may go on before it costs anything: who asks, whether it is in time, how often, and how much of it is at work. */
import type { ReplyError } from '../../shared/contract/messages.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { ERRORS } from '../../shared/runtime/errors.ts';
import { type BucketLimits, TokenBuckets } from '../../shared/runtime/token-bucket.ts';
import type { DeviceBook } from '../ports.ts';
import type { DeviceRequest } from './request.ts';

/** Requests of one device that are worked on at a time: one device cannot fill the queue. */
const MAX_PER_DEVICE = 64;
const RETRY_AFTER_MS = 500;
/** Requests: four thousand an hour for each of a thousand cameras is far below; a runaway loop is far above. */
const DEFAULT_RATE: BucketLimits = { perSecond: 200, burst: 2_000 };
/** Whose requests are counted: many times what one hub serves; about 10 MB. */
const MAX_DEVICES = 100_000;

/** The bounds of each device. */
export class Admission {
  readonly #devices: Pick<DeviceBook, 'isActive'>;
  readonly #rate: TokenBuckets;
  readonly #atWork = new Map<string, number>();

  constructor(options: {
    readonly devices: Pick<DeviceBook, 'isActive'>;
    readonly clock: Clock;
    readonly rate: BucketLimits | undefined;
  }) {
    this.#devices = options.devices;
    this.#rate = new TokenBuckets(options.clock, { ...(options.rate ?? DEFAULT_RATE), maxKeys: MAX_DEVICES });
  }

  /** @returns why it is turned away; undefined when it may go on */
  refuses({ device, header }: DeviceRequest): ReplyError | undefined {
    if (!this.#devices.isActive(device))
      return { code: 'LINK_REFUSED', message: 'this device is not enrolled here, or revoked' };
    if (header.expiresMs <= 0) return { code: 'EXPIRED', message: ERRORS.EXPIRED.meaning };
    const waitMs = this.#rate.take(device);
    if (waitMs > 0)
      return { code: 'RATE_LIMITED', message: 'this device asks too often', retryAfterMs: waitMs };
    if ((this.#atWork.get(device) ?? 0) < MAX_PER_DEVICE) return undefined;
    return {
      code: 'QUEUE_FULL',
      message: `${MAX_PER_DEVICE} requests of this device are being worked on`,
      retryAfterMs: RETRY_AFTER_MS,
    };
  }

  /** Counts the request as being worked on until `work` has ended. */
  async during(device: string, work: () => Promise<void>): Promise<void> {
    this.#atWork.set(device, (this.#atWork.get(device) ?? 0) + 1);
    try {
      await work();
    } finally {
      const left = (this.#atWork.get(device) ?? 1) - 1;
      if (left > 0) this.#atWork.set(device, left);
      else this.#atWork.delete(device);
    }
  }
}
