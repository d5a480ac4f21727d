/**
 * JSON lines (pino), one per event, named `part.happened`; to a rotated file in the data folder, or to stderr.
 * Never a payload, never a secret. `warn` is one operation, `error` a part that is down.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { type LevelWithSilent, pino } from 'pino';
import { createStream } from 'rotating-file-stream';
import { type Clock, systemClock } from './clock.ts';
import { ERRORS, toAppError } from './errors.ts';
import { onHangUp } from './hang-up.ts';
import { makeFolderSync } from './make-folder.ts';

/** Structured log: an event name and its facts, one line each. */
export interface Logger {
  debug(event: string, facts?: Record<string, unknown>): void;
  info(event: string, facts?: Record<string, unknown>): void;
  warn(event: string, facts?: Record<string, unknown>): void;
  error(event: string, facts?: Record<string, unknown>): void;
  /** Logs a failure at the level that its kind asks for. */
  failure(event: string, error: unknown, facts?: Record<string, unknown>): void;
  child(facts: Record<string, unknown>): Logger;
}

/** Which program logs, and where to. */
export interface LoggerOptions {
  readonly program: string;
  /** Folder for `<program>.log`, where SIGHUP begins a new one if that was renamed; without one, lines go to stderr. */
  readonly folder?: string;
  readonly level?: LevelWithSilent;
  /** Says when a log that failed is tried again; the system's when left out. */
  readonly clock?: Clock;
}

/** Per program: at most 5 rotated files of 5 MB, so that logs cannot fill a device's disk. */
const MAX_FILE = '5M';
const MAX_FILES = 5;
const REOPEN_MS = 1_000;

/** Opens the log of a program; the folder is made where it is missing. */
export function createLogger(options: LoggerOptions): Logger {
  const { program, folder, level = 'info', clock = systemClock } = options;
  if (folder === undefined) return wrap(pino({ name: program, level }, process.stderr));
  // A log that cannot be written must say so somewhere: once, until a line has gone through again.
  let isTold = false;
  const onFailure = (error: unknown): void => {
    if (isTold) return;
    isTold = true;
    const { message } = toAppError(error);
    process.stderr.write(
      `outrider: the log ${join(folder, `${program}.log`)} cannot be written: ${message}\n`,
    );
  };
  try {
    makeFolderSync(folder);
    chmodSync(folder, 0o700);
  } catch (error) {
    onFailure(error);
  }
  const open = () => createStream(`${program}.log`, { path: folder, size: MAX_FILE, maxFiles: MAX_FILES });
  return wrap(pino({ name: program, level }, reopened(open, clock, onFailure)));
}

/**
 * A full disk must not take the program down with its log, nor end the log for good: a stream that fails is over, so the next
 * line after a while gets a new one. Lines in between are lost.
 */
function reopened(
  open: () => Writable,
  clock: Clock,
  onFailure: (error: Error) => void,
): { write(line: string): void } {
  let stream: Writable | undefined;
  let retryMonoMs = 0;
  const begin = (): Writable => {
    const opened = open();
    opened.on('error', (error) => {
      onFailure(error);
      if (stream === opened) stream = undefined;
      retryMonoMs = clock.nowMonoMs() + REOPEN_MS;
    });
    return opened;
  };
  // At once, not with the next line: whoever has renamed the old one may wait for the new one.
  onHangUp(() => {
    stream?.end();
    stream = begin();
  });
  return {
    write(line) {
      if (stream === undefined) {
        if (clock.nowMonoMs() < retryMonoMs) return;
        stream = begin();
      }
      stream.write(line);
    },
  };
}

/** A logger that says nothing, for tests and short commands. */
export const silentLogger: Logger = wrap(pino({ level: 'silent' }));

function wrap(base: pino.Logger): Logger {
  return {
    debug: (event, facts) => base.debug(facts ?? {}, event),
    info: (event, facts) => base.info(facts ?? {}, event),
    warn: (event, facts) => base.warn(facts ?? {}, event),
    error: (event, facts) => base.error(facts ?? {}, event),
    failure(event, error, facts) {
      const known = toAppError(error);
      const line = { ...facts, code: known.code, reason: known.message, ...known.details };
      if (ERRORS[known.code].kind === 'bug') base.error({ ...line, err: known.cause ?? known }, event);
      else base.warn(line, event);
    },
    child: (facts) => wrap(base.child(facts)),
  };
}
