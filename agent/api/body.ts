/** Reads request bodies with a limit for each, one for all together, and one for the time that they take: a stalled one is in nobody's way. */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';

/** Memory that bodies may take together until they are answered: four of the largest pictures. A device has little. */
const MAX_HELD_BYTES = 128 * 1024 * 1024;
/** A slow sender holds memory. */
const BODY_TIMEOUT_MS = 30_000;

/** Reader of all bodies of the device’s API: what they hold together is counted here. */
export class BodyReader {
  readonly #clock: Clock;
  #heldBytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Reads the body and holds its memory until `use` is done with it.
   *
   * @throws INPUT_TOO_LARGE, QUEUE_FULL, BODY_TIMEOUT, BAD_REQUEST (broken off)
   */
  async with<T>(request: Request, maxBytes: number, use: (body: Uint8Array) => Promise<T>): Promise<T> {
    const tooLarge = (): AppError => new AppError('INPUT_TOO_LARGE', `the body is over ${maxBytes} bytes`);
    if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge();
    const reader = request.body?.getReader();
    if (!reader) return use(new Uint8Array(0));
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const { tooSlow, end } = this.#bound();
    try {
      for (;;) {
        const { done, value } = await Promise.race([reader.read().catch(brokenOff), tooSlow]);
        if (done) break;
        bytes += value.length;
        this.#heldBytes += value.length;
        if (bytes > maxBytes) throw tooLarge();
        if (this.#heldBytes > MAX_HELD_BYTES)
          throw new AppError('QUEUE_FULL', 'too many large requests at a time');
        chunks.push(value);
      }
      end();
      return await use(Buffer.concat(chunks));
    } finally {
      end();
      this.#heldBytes -= bytes;
      void reader.cancel().catch(() => undefined);
    }
  }

  /** Fails when the time for a body is over, unless it has ended before. */
  #bound(): { readonly tooSlow: Promise<never>; readonly end: () => void } {
    const giveUp = new AbortController();
    const tooSlow = this.#clock.sleep(BODY_TIMEOUT_MS, giveUp.signal).then(() => {
      throw new AppError('BODY_TIMEOUT', `the body did not arrive within ${BODY_TIMEOUT_MS / 1000} s`);
    });
    tooSlow.catch(() => undefined);
    return { tooSlow, end: () => giveUp.abort() };
  }
}

function brokenOff(error: unknown): never {
  throw new AppError('BAD_REQUEST', 'the body broke off', { cause: error });
}
