/** Reads request bodies, without their content coding, with a limit for each, one for all together, and one for the time that they take. */
import type { z } from 'zod';
import type { Clock } from './clock.ts';
import { brokenOff, openBody } from './content-coding.ts';
import { AppError } from './errors.ts';
import { parseJson } from './json.ts';

/** A slow sender holds memory: 32 MiB in this time is a link of 9 Mbit/s. */
const BODY_TIMEOUT_MS = 30_000;
/** A body of an announced length up to this is taken in one piece: Node holds as much for a connection by itself. */
const MAX_PIECE_BYTES = 64 * 1024;
/** No request of an operator or a device is larger by far. */
const MAX_JSON_BYTES = 64 * 1024;

/** Bodies of all requests, with the memory that they hold together. */
export class BodyReader {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #maxHeldBytes: number;
  #heldBytes = 0;
  /** Set aside for bodies that have said how large they are, and may not come. */
  #roomBytes = 0;

  /** @param options.maxHeldBytes memory that bodies may take together, until their answers are out */
  constructor(options: {
    readonly clock: Clock;
    readonly maxHeldBytes: number;
    readonly timeoutMs?: number | undefined;
  }) {
    this.#clock = options.clock;
    this.#maxHeldBytes = options.maxHeldBytes;
    this.#timeoutMs = options.timeoutMs ?? BODY_TIMEOUT_MS;
  }

  /** A small JSON body. @throws BAD_REQUEST, naming the field, and what `with` throws */
  json<T>(request: Request, schema: z.ZodType<T>, maxBytes = MAX_JSON_BYTES): Promise<T> {
    return this.with(request, maxBytes, async (bytes) => {
      const parsed = schema.safeParse(parseJson(bytes));
      if (parsed.success) return parsed.data;
      const issue = parsed.error.issues[0];
      throw new AppError('BAD_REQUEST', `${issue?.path.join('.') || 'the body'}: ${issue?.message ?? ''}`);
    });
  }

  /**
   * The body piece by piece as it comes, for who writes it away at once: nothing is held.
   *
   * @throws (while it is read) ENCODING_UNSUPPORTED, INPUT_TOO_LARGE, BODY_TIMEOUT, BAD_REQUEST (broken off)
   */
  async *stream(request: Request, maxBytes: number): AsyncGenerator<Uint8Array, void> {
    refuseAnnounced(request, maxBytes);
    const reader = openBody(request, maxBytes);
    if (!reader) return;
    const { tooSlow, end } = this.#bound();
    let bytes = 0;
    try {
      for (;;) {
        const { done, value } = await Promise.race([reader.read(), tooSlow]);
        if (done || value === undefined) return;
        bytes += value.length;
        if (bytes > maxBytes) throw tooLarge(maxBytes);
        yield value;
      }
    } finally {
      end();
      void reader.cancel().catch(() => undefined);
    }
  }

  /**
   * Reads the body and holds its memory until `use` is done with it.
   *
   * @throws ENCODING_UNSUPPORTED, INPUT_TOO_LARGE, QUEUE_FULL, BODY_TIMEOUT, BAD_REQUEST (broken off)
   */
  async with<T>(request: Request, maxBytes: number, use: (body: Uint8Array) => Promise<T>): Promise<T> {
    refuseAnnounced(request, maxBytes);
    if (isPiece(request)) return this.#withPiece(request, maxBytes, use);
    const reader = openBody(request, maxBytes);
    if (!reader) return use(new Uint8Array(0));
    const announced = announcedBytes(request);
    const roomBytes = this.#roomBytes + announced > this.#maxHeldBytes ? 0 : announced;
    this.#roomBytes += roomBytes;
    const pieces = new Pieces(roomBytes);
    let bytes = 0;
    const { tooSlow, end } = this.#bound();
    try {
      for (;;) {
        const { done, value } = await Promise.race([reader.read(), tooSlow]);
        if (done || value === undefined) break;
        bytes += value.length;
        this.#heldBytes += value.length;
        if (bytes > maxBytes) throw tooLarge(maxBytes);
        if (this.#heldBytes > this.#maxHeldBytes)
          throw new AppError('QUEUE_FULL', 'too many large requests at a time');
        pieces.add(value);
      }
      end();
      return await use(pieces.whole());
    } finally {
      end();
      this.#heldBytes -= bytes;
      this.#roomBytes -= roomBytes;
      void reader.cancel().catch(() => undefined);
    }
  }

  /** The same for a small body: without a stream in between it costs a tenth of the time. measured: docs/decisions/0037 */
  async #withPiece<T>(request: Request, maxBytes: number, use: (body: Uint8Array) => Promise<T>): Promise<T> {
    const { tooSlow, end } = this.#bound();
    let bytes = 0;
    try {
      const body = new Uint8Array(await Promise.race([request.arrayBuffer().catch(brokenOff), tooSlow]));
      end();
      bytes = body.length;
      this.#heldBytes += bytes;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      if (this.#heldBytes > this.#maxHeldBytes)
        throw new AppError('QUEUE_FULL', 'too many large requests at a time');
      return await use(body);
    } finally {
      end();
      this.#heldBytes -= bytes;
    }
  }

  /** Fails when the time for a body is over, unless it has ended before. */
  #bound(): { readonly tooSlow: Promise<never>; readonly end: () => void } {
    let end = (): void => undefined;
    const tooSlow = new Promise<never>((_, reject) => {
      end = this.#clock.after(this.#timeoutMs, () =>
        reject(new AppError('BODY_TIMEOUT', `the body did not arrive within ${this.#timeoutMs / 1000} s`)),
      );
    });
    tooSlow.catch(() => undefined);
    return { tooSlow, end };
  }
}

/** Pieces of a body, put together as they come where its length is known: at the end it would take milliseconds at a stretch. */
class Pieces {
  readonly #pieces: Uint8Array[] = [];
  /** Takes them, as long as there is room. */
  readonly #room: Buffer;
  #filledBytes = 0;

  constructor(roomBytes: number) {
    // Nobody sees what has not been written to.
    this.#room = Buffer.allocUnsafeSlow(roomBytes);
  }

  add(piece: Uint8Array): void {
    if (this.#pieces.length > 0 || this.#filledBytes + piece.length > this.#room.length) {
      this.#pieces.push(piece);
      return;
    }
    this.#room.set(piece, this.#filledBytes);
    this.#filledBytes += piece.length;
  }

  whole(): Uint8Array {
    const filled = this.#room.subarray(0, this.#filledBytes);
    const [only, ...more] = this.#pieces;
    if (!only) return filled;
    return filled.length === 0 && more.length === 0 ? only : Buffer.concat([filled, ...this.#pieces]);
  }
}

/** Of a body that comes as it is; 0: not known. */
function announcedBytes({ headers }: Request): number {
  const bytes = Number(headers.get('content-length') ?? 0);
  const isPlain = headers.get('content-encoding') === null && headers.get('transfer-encoding') === null;
  return isPlain && Number.isSafeInteger(bytes) ? bytes : 0;
}

const tooLarge = (maxBytes: number): AppError =>
  new AppError('INPUT_TOO_LARGE', `the body is over ${maxBytes} bytes`);

/** One that says its length is refused before it has come. */
function refuseAnnounced(request: Request, maxBytes: number): void {
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
}

/** Whether its sender has said that it is small, and sends it as it is. */
function isPiece({ headers }: Request): boolean {
  const length = headers.get('content-length');
  return (
    length !== null &&
    Number(length) <= MAX_PIECE_BYTES &&
    headers.get('content-encoding') === null &&
    headers.get('transfer-encoding') === null
  );
}
