/** Lines of a file, one at a time, whatever its size; a line that is too long ends it instead of filling the memory. */
import { createReadStream } from 'node:fs';
import { AppError, isAppError, unreadable } from '../../shared/runtime/errors.ts';
import { bytesText } from '../output.ts';

/** Line of a file with its number, for messages. */
export interface Line {
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

const NEWLINE = 0x0a;

/**
 * Blank ones are passed over.
 *
 * @throws FILE_UNREADABLE, INPUT_TOO_LARGE naming the line
 */
export async function* linesOf(path: string, maxLineBytes: number): AsyncGenerator<Line> {
  const stream = createReadStream(path);
  let number = 1;
  let parts: Buffer[] = [];
  let bytes = 0;
  const take = (part: Buffer): void => {
    bytes += part.length;
    if (bytes > maxLineBytes)
      throw new AppError(
        'INPUT_TOO_LARGE',
        `${path} line ${number}: it is longer than ${bytesText(maxLineBytes)}`,
      );
    parts.push(part);
  };
  const end = (): Line => {
    const line = { number, text: Buffer.concat(parts).toString('utf8').trim() };
    number++;
    parts = [];
    bytes = 0;
    return line;
  };
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      let from = 0;
      for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
        take(chunk.subarray(from, at));
        from = at + 1;
        const line = end();
        if (line.text !== '') yield line;
      }
      if (from < chunk.length) take(chunk.subarray(from));
    }
    const last = end();
    if (last.text !== '') yield last;
  } catch (error) {
    if (isAppError(error)) throw error;
    throw unreadable(path, error);
  } finally {
    stream.destroy();
  }
}
