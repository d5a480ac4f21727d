/** Content codings of request bodies (RFC 9110 8.4.1): gzip and deflate, decoded piece by piece, so that whoever reads bounds what comes out. */
import { pipeline } from 'node:stream';
import { createGunzip, createInflate, createInflateRaw } from 'node:zlib';
import { AppError } from './errors.ts';

/** Codings that are decoded, as `Accept-Encoding` names them in a refusal (RFC 9110 15.5.16). */
export const ACCEPTED_CODINGS = 'gzip, deflate, identity';

/** Body that is read piece by piece. */
export interface BodySource {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  /** Gives up what has not been read. */
  cancel(): Promise<void>;
}

type Decoder = ReturnType<typeof createGunzip>;

/** At most so many bytes come out between two looks at the bounds. */
const CHUNK = { chunkSize: 64 * 1024 };

/**
 * The body of a request, without its content coding.
 *
 * @param maxCodedBytes of the body as it was sent
 * @returns undefined where there is none
 * @throws ENCODING_UNSUPPORTED; while it is read: BAD_REQUEST (broken off, or not of this coding), INPUT_TOO_LARGE
 */
export function openBody(request: Request, maxCodedBytes: number): BodySource | undefined {
  const { body } = request;
  if (!body) return undefined;
  const coding = request.headers.get('content-encoding')?.trim().toLowerCase() ?? '';
  const reader = body.getReader();
  if (coding === '' || coding === 'identity')
    return { read: () => reader.read().catch(brokenOff), cancel: () => reader.cancel() };
  if (coding !== 'gzip' && coding !== 'x-gzip' && coding !== 'deflate') {
    void reader.cancel().catch(() => undefined);
    throw new AppError(
      'ENCODING_UNSUPPORTED',
      `Content-Encoding: ${ACCEPTED_CODINGS} are decoded, ${coding.slice(0, 64)} is not`,
    );
  }
  return decoded(reader, { coding, maxCodedBytes });
}

function decoded(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  { coding, maxCodedBytes }: { readonly coding: string; readonly maxCodedBytes: number },
): BodySource {
  let pieces: AsyncIterator<Uint8Array> | undefined;
  let decoder: Decoder | undefined;
  const open = async (): Promise<AsyncIterator<Uint8Array>> => {
    const first = await reader.read().catch(brokenOff);
    decoder = decoderOf(coding, first.value?.[0] ?? 0);
    // Its failure comes out of the decoder, where it is read.
    pipeline(coded(reader, first, maxCodedBytes), decoder, () => undefined);
    return decoder[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  };
  return {
    async read() {
      try {
        pieces ??= await open();
        const { done = false, value } = await pieces.next();
        return done ? { done } : { done, value };
      } catch (error) {
        if (error instanceof AppError) throw error;
        throw new AppError('BAD_REQUEST', `the body is no whole ${coding} stream`, { cause: error });
      }
    },
    async cancel() {
      decoder?.destroy();
      await reader.cancel();
    },
  };
}

/** Some clients send deflate without the zlib wrapper (RFC 9110 8.4.1.2); RFC 1950 2.2: a wrapper begins with method 8. */
function decoderOf(coding: string, firstByte: number): Decoder {
  if (coding !== 'deflate') return createGunzip(CHUNK);
  return (firstByte & 0x0f) === 8 ? createInflate(CHUNK) : createInflateRaw(CHUNK);
}

async function* coded(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  first: { readonly done: boolean; readonly value?: Uint8Array | undefined },
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for (let next = first; !next.done && next.value; next = await reader.read().catch(brokenOff)) {
    bytes += next.value.length;
    // Empty blocks decode to nothing, without end.
    if (bytes > maxBytes) throw new AppError('INPUT_TOO_LARGE', `the body is over ${maxBytes} bytes`);
    yield next.value;
  }
}

/** @throws BAD_REQUEST, whatever the error */
export function brokenOff(error: unknown): never {
  throw new AppError('BAD_REQUEST', 'the body broke off', { cause: error });
}
