/**
 * Lines of a text file, one input each; blank lines are passed over. Once, again and again at a gentle pace, or with `follow` as they
 * are appended: then it remembers how far it has come, and begins anew in a file that was truncated or put in the place of the last one.
 */

import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError, isAppError, unreadable } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Feed, TakeInput, TellFeed } from '../ports.ts';
import { type Line, linesOf } from './lines.ts';
import { type Passes, rest, runPasses } from './passes.ts';
import { lookAt, lookOf, openRegular } from './whole-file.ts';

/** Text file to read, and the pace of its passes. */
export interface TextLinesFeedOptions extends Passes {
  readonly path: string;
  /** Goes on with what is appended. */
  readonly follow: boolean;
  /** Where it remembers how far it has come: JSON. */
  readonly statePath: string;
  /** Of a line. */
  readonly maxBytes: number;
  /** What people may see of a line; all of it when left out. Cut only then: half of an address would not be known as one. */
  readonly shown?: ((text: string) => string) | undefined;
  readonly logger: Logger;
  /** A line that could not be taken, with the reason. */
  readonly onDropped: (reason: string) => void;
}

/** Enough of a line to know it by. */
const LABEL_CHARACTERS = 60;
/** Whether something was appended. */
const LOOK_EVERY_MS = 500;
/** After a crash, the lines of this last while are taken once more. */
const REMEMBER_EVERY_MS = 1_000;
/** A file is known by so many bytes of its beginning: an inode's number comes again. */
const HEAD_BYTES = 1_024;

/** How far it has come in a file, and by which beginning that file is known. */
const place = z.object({ offset: z.int().nonnegative(), headBytes: z.int(), head: z.string() });

/** Feed of a text file’s lines. */
export class TextLinesFeed implements Feed {
  readonly #o: TextLinesFeedOptions;
  #rememberedMonoMs = 0;

  constructor(options: TextLinesFeedOptions) {
    this.#o = options;
  }

  async run(take: TakeInput, signal: AbortSignal, tell: TellFeed = () => undefined): Promise<void> {
    if (this.#o.follow && !this.#o.once) return this.#follow(take, signal, tell);
    await runPasses(this.#o, signal, (paceMs) => this.#pass(take, signal, { paceMs, tell }));
  }

  async #pass(
    take: TakeInput,
    signal: AbortSignal,
    { paceMs, tell }: { readonly paceMs: number; readonly tell: TellFeed },
  ): Promise<void> {
    const file = await this.#open();
    try {
      tell('live');
      for await (const line of this.#linesOf(file, 0)) {
        if (signal.aborted) return;
        if (await this.#takeLine(line, take)) await rest(this.#o.clock, paceMs, signal);
      }
    } finally {
      await file.close();
    }
  }

  async #follow(take: TakeInput, signal: AbortSignal, tell: TellFeed): Promise<void> {
    let from = await this.#remembered();
    while (!signal.aborted) {
      const file = await this.#open();
      try {
        tell('live');
        const offset = from !== undefined && (await isSame(file, from)) ? from.offset : 0;
        from = undefined;
        await this.#followFile(file, offset, { take, signal });
      } finally {
        await file.close();
      }
    }
  }

  /** Until another file is in its place, or it is shorter than it was. */
  async #followFile(
    file: FileHandle,
    from: number,
    { take, signal }: { readonly take: TakeInput; readonly signal: AbortSignal },
  ): Promise<void> {
    let offset = from;
    let seenBytes = -1;
    try {
      while (!signal.aborted) {
        // Before the file is read to its end: what was written to it before another took its place is read then.
        const now = await lookAt(this.#o.path);
        const { bytes, inode } = lookOf(await file.stat());
        if (bytes < offset) {
          offset = 0;
          seenBytes = -1;
        }
        const isReplaced = now?.inode !== inode;
        if (bytes !== seenBytes || isReplaced) {
          seenBytes = bytes;
          for await (const line of this.#linesOf(file, offset)) {
            if (signal.aborted) return;
            // A line without its end is still being written; in a file that nobody has by its name any more it is the last one.
            if (!line.isEnded && !isReplaced) break;
            await this.#takeLine(line, take);
            offset = line.endAt;
            await this.#rememberInTurn(file, offset);
          }
        }
        if (isReplaced) {
          offset = 0;
          return;
        }
        await rest(this.#o.clock, LOOK_EVERY_MS, signal);
      }
    } finally {
      await this.#remember(file, offset);
    }
  }

  async #rememberInTurn(file: FileHandle, offset: number): Promise<void> {
    if (this.#o.clock.nowMonoMs() - this.#rememberedMonoMs >= REMEMBER_EVERY_MS)
      await this.#remember(file, offset);
  }

  async #remember(file: FileHandle, offset: number): Promise<void> {
    this.#rememberedMonoMs = this.#o.clock.nowMonoMs();
    try {
      const headBytes = Math.min(offset, HEAD_BYTES);
      await writeJsonAtomic(this.#o.statePath, { offset, headBytes, head: await headOf(file, headBytes) });
    } catch (error) {
      this.#o.logger.failure('feed.not_remembered', error);
    }
  }

  async #remembered(): Promise<z.infer<typeof place> | undefined> {
    try {
      return await readJson(this.#o.statePath, place);
    } catch (error) {
      this.#o.logger.failure('feed.state_unreadable', error);
      return undefined;
    }
  }

  /** @returns whether there was something to take */
  async #takeLine({ bytes }: Line, take: TakeInput): Promise<boolean> {
    const { maxBytes, logger, onDropped } = this.#o;
    if (bytes === undefined) {
      const error = new AppError('INPUT_TOO_LARGE', `a line is over ${maxBytes} bytes`);
      logger.failure('feed.line_skipped', error);
      onDropped(error.code);
      return true;
    }
    const text = bytes.toString('utf8').trim();
    if (text === '') return false;
    // What is no text is for the task to refuse, as it came.
    const body = isUtf8(bytes) ? Buffer.from(text, 'utf8') : bytes;
    await take({
      input: { contentType: 'text/plain; charset=utf-8', body },
      label: labelOf(this.#o.shown?.(text) ?? text),
    });
    return true;
  }

  #linesOf(file: FileHandle, from: number): AsyncGenerator<Line> {
    return readable(linesOf(file, from, this.#o.maxBytes), this.#o.path);
  }

  /** @throws FILE_UNREADABLE, NOT_A_FILE */
  async #open(): Promise<FileHandle> {
    const { path } = this.#o;
    try {
      const file = await openRegular(path);
      if (file) return file;
    } catch (error) {
      if (isAppError(error)) throw error;
      throw feedUnreadable(path, error);
    }
    throw feedUnreadable(path);
  }
}

/** What the file does is told apart from what `take` does with its lines. @throws FILE_UNREADABLE */
async function* readable(lines: AsyncGenerator<Line>, path: string): AsyncGenerator<Line> {
  try {
    for (;;) {
      const next = await lines.next().catch((error: unknown) => {
        throw feedUnreadable(path, error);
      });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await lines.return(undefined);
  }
}

const feedUnreadable = (path: string, cause?: unknown): AppError =>
  unreadable(`the feed’s file ${path}`, cause);

async function isSame(
  file: FileHandle,
  { offset, headBytes, head }: z.infer<typeof place>,
): Promise<boolean> {
  const { size } = await file.stat();
  return size >= offset && (await headOf(file, headBytes)) === head;
}

async function headOf(file: FileHandle, bytes: number): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
  return createHash('sha256').update(buffer.subarray(0, bytesRead)).digest('hex');
}

const labelOf = (text: string): string =>
  text.length > LABEL_CHARACTERS ? `${text.slice(0, LABEL_CHARACTERS - 1)}…` : text;
