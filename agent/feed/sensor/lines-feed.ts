/**
 * Lines of a command's output or of a file, CSV or JSON: their numbers joined into windows where the task takes windows, else an input
 * each. A file waits for its answers; of a command, which does not wait, the newest counts.
 */
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Feed, FeedItem, TakeInput, TellFeed } from '../../ports.ts';
import { linesOf } from '../lines.ts';
import { TextLinesFeed, type TextLinesFeedOptions } from '../text-lines.ts';
import { openRegular } from '../whole-file.ts';
import { type CommandOptions, runCommand } from './command.ts';
import { Inbox } from './inbox.ts';
import type { LineReader } from './line-reader.ts';
import type { LineTaker } from './line-taker.ts';
import { serve } from './serve.ts';

/** Source of lines, and what they become. */
export interface LinesFeedOptions {
  readonly source:
    | { readonly kind: 'command'; readonly command: CommandOptions }
    | { readonly kind: 'file'; readonly file: TextLinesFeedOptions };
  readonly reader: LineReader | undefined;
  readonly taker: LineTaker;
  /** The command is gone through once, and waits for its answers. */
  readonly once: boolean;
  readonly inbox: ConstructorParameters<typeof Inbox>[0];
}

/** Feed of lines with values in them. */
export class LinesFeed implements Feed {
  readonly #o: LinesFeedOptions;

  constructor(options: LinesFeedOptions) {
    this.#o = options;
  }

  /** @throws FILE_UNREADABLE, NOT_A_FILE, FEED_COMMAND_FAILED */
  async run(take: TakeInput, signal: AbortSignal, tell: TellFeed = () => undefined): Promise<void> {
    const { source, taker } = this.#o;
    taker.listen();
    if (source.kind === 'file') await this.#runFile(source.file, { take, signal, tell });
    else await this.#runCommand(source.command, { take, signal, tell });
  }

  async #runFile(
    file: TextLinesFeedOptions,
    {
      take,
      signal,
      tell,
    }: { readonly take: TakeInput; readonly signal: AbortSignal; readonly tell: TellFeed },
  ): Promise<void> {
    const { taker, reader } = this.#o;
    if (reader?.needsHeader) await readHeader(file.path, reader);
    const cancel = watch(file.clock, taker, tell);
    const takeLine: TakeInput = async ({ input }) => {
      for (const item of taker.line(Buffer.from(input.body).toString('utf8'))) {
        if (signal.aborted) return undefined;
        await take(item);
      }
      return undefined;
    };
    try {
      await new TextLinesFeed(file).run(takeLine, signal, tell);
    } finally {
      cancel();
    }
  }

  async #runCommand(
    command: CommandOptions,
    {
      take,
      signal,
      tell,
    }: { readonly take: TakeInput; readonly signal: AbortSignal; readonly tell: TellFeed },
  ): Promise<void> {
    const { taker, once, inbox: options } = this.#o;
    const inbox = new Inbox(options);
    let end: { readonly error?: unknown } | undefined;
    const running = runCommand(
      command,
      async (line) => {
        const items = this.#itemsOf(line, command.maxBytes);
        if (once) for (const item of items) await take(item);
        else for (const item of items) inbox.put(item);
      },
      signal,
    )
      .then(() => {
        end = {};
      })
      .catch((error: unknown) => {
        end = { error };
      })
      .finally(() => inbox.wake());
    await serve(
      { inbox, stalled: () => taker.stalled, isOver: () => end !== undefined, clock: command.clock },
      { take, tell, signal },
    );
    await running;
    if (end?.error !== undefined) throw end.error;
    if (once || signal.aborted) return;
    throw new AppError('FEED_COMMAND_FAILED', `${command.command[0]} has ended with 0`);
  }

  #itemsOf(line: Buffer | undefined, maxBytes: number): FeedItem[] {
    const { taker } = this.#o;
    if (line === undefined) {
      taker.refuse('too-large', `a line had over ${maxBytes} bytes`);
      return [];
    }
    const text = line.toString('utf8').trim();
    return text === '' ? [] : taker.line(text);
  }
}

/** How soon a silence is noticed. */
const LOOK_EVERY_MS = 1_000;

/** Says that a file that is followed has gone silent, and that it has not. @returns what ends it */
function watch(clock: TextLinesFeedOptions['clock'], taker: LineTaker, tell: TellFeed): () => void {
  let told = false;
  let cancel = (): void => undefined;
  const look = (): void => {
    const why = taker.stalled;
    if (why || told) tell(why ? 'stalled' : 'live', why);
    told = why !== undefined;
    cancel = clock.after(LOOK_EVERY_MS, look);
  };
  look();
  return () => cancel();
}

/** A file that is gone on with begins somewhere: its first line is read beforehand. */
async function readHeader(path: string, reader: LineReader): Promise<void> {
  const file = await openRegular(path);
  if (!file) return;
  try {
    for await (const { bytes } of linesOf(file, 0, MAX_HEADER_BYTES)) {
      if (bytes) reader.read(bytes.toString('utf8').trim());
      return;
    }
  } finally {
    await file.close();
  }
}

const MAX_HEADER_BYTES = 65_536;
