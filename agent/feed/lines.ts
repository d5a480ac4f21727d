/** Lines of a file as bytes, with the place where each ends; one that is too long is passed over without holding it. */
import type { FileHandle } from 'node:fs/promises';

/** A line as it lies in its file. */
export interface Line {
  /** Without its end; undefined: longer than asked for. */
  readonly bytes: Buffer | undefined;
  /** Where the next one begins, in bytes of the file. */
  readonly endAt: number;
  /** False for the last one, where a writer may go on. */
  readonly isEnded: boolean;
}

const NEWLINE = 0x0a;
const BLOCK_BYTES = 64 * 1024;

/** From a place to the end of the file, as it is when it is reached. */
export async function* linesOf(file: FileHandle, from: number, maxBytes: number): AsyncGenerator<Line> {
  let pieces: Buffer[] = [];
  let held = 0;
  let at = from;
  const line = (end: Buffer, endAt: number, isEnded: boolean): Line => {
    const isTooLong = held + end.length > maxBytes;
    const bytes = isTooLong ? undefined : Buffer.concat([...pieces, end]);
    pieces = [];
    held = 0;
    return { bytes, endAt, isEnded };
  };
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, at);
    if (bytesRead === 0) break;
    let start = 0;
    for (
      let end = buffer.indexOf(NEWLINE);
      end >= 0 && end < bytesRead;
      end = buffer.indexOf(NEWLINE, start)
    ) {
      yield line(buffer.subarray(start, end), at + end + 1, true);
      start = end + 1;
    }
    const rest = buffer.subarray(start, bytesRead);
    held += rest.length;
    if (held <= maxBytes) pieces.push(rest);
    else pieces = [];
    at += bytesRead;
  }
  if (held > 0) yield line(Buffer.alloc(0), at, false);
}
