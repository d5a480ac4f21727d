/**
 * What every program of ours (broker, hub, agent, up) does at its edges: how it is told to stop, and what it says to a parent.
 * A child with an IPC channel ignores the terminal's signals and stops by message or when its parent is gone;
 * a program started alone stops on SIGINT and SIGTERM.
 */
import './schema-words.ts';
import { z } from 'zod';
import { AppError, ERROR_CODES, isAppError, textOf, toAppError } from './errors.ts';
import { reopenOnHangUp } from './hang-up.ts';
import { outliveReaders } from './printing.ts';
import { forTerminal } from './terminal.ts';

/** Message from a child to the program that started it. */
export const childMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready'), facts: z.record(z.string(), z.unknown()) }),
  z.object({ type: z.literal('failed'), code: z.enum(ERROR_CODES), message: z.string() }),
  z.object({ type: z.literal('finished') }),
]);
export type ChildMessage = z.infer<typeof childMessage>;

/** Message from such a parent. */
const parentMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('stop') }),
  // What it came to know only after it had started the child.
  z.object({ type: z.literal('facts'), facts: z.record(z.string(), z.unknown()) }),
]);
export type ParentMessage = z.infer<typeof parentMessage>;

/** By which a child ends in order. */
export const STOP_MESSAGE = { type: 'stop' } as const satisfies ParentMessage;

/** Sends to the parent, if there is one. */
export function tellParent(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}

/** Whether this process was started by another program of ours. */
export const isChild = (): boolean => process.send !== undefined;

/** How soon after npm a program that it has started ends. */
const NPM_LOOK_MS = 500;

/**
 * npm gives a signal to the shell that it has started, which ends without a word to us. Only then: who starts a program with `&` or
 * nohup wants it to outlive the shell.
 */
function whenNpmIsGone(run: () => void): void {
  if (process.env.npm_lifecycle_event === undefined || isChild()) return;
  const startedBy = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === startedBy) return;
    clearInterval(timer);
    run();
  }, NPM_LOOK_MS);
  timer.unref();
}

/** Resolves once, with the reason, when this program is to stop. A second signal ends it at once. */
export function untilToldToStop(): Promise<string> {
  return new Promise((resolve) => {
    let told = false;
    const onSignal = (signal: NodeJS.Signals) => {
      if (isChild()) return;
      if (told) process.exit(130);
      told = true;
      resolve(signal);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
    process.on('message', (message) => {
      if (parentMessage.safeParse(message).data?.type === 'stop') resolve('stop message');
    });
    process.on('disconnect', () => resolve('parent gone'));
    whenNpmIsGone(() => resolve('npm gone'));
  });
}

/** What the parent comes to know; it may say so before anybody asks. @throws STOPPING where the parent is gone, or stops us */
async function factsOfParent(told: Promise<string>): Promise<Record<string, unknown>> {
  const facts = new Promise<Record<string, unknown>>((resolve) => {
    process.on('message', (message) => {
      const { data } = parentMessage.safeParse(message);
      if (data?.type === 'facts') resolve(data.facts);
    });
  });
  const stopped = told.then((why) => Promise.reject(new AppError('STOPPING', why)));
  return Promise.race([facts, stopped]);
}

/** Tells the parent (or stderr) why the program cannot go on, in one sentence with its code. */
function reportFatal(error: unknown): void {
  const known = toAppError(error);
  if (isChild()) tellParent({ type: 'failed', code: known.code, message: known.message });
  else process.stderr.write(`${forTerminal(`outrider: ${known.message} (${known.code})`)}\n`);
}

/** What Node would wait for at its exit, for ever where a disk hangs or nobody opens the other end of a pipe. */
const ENDLESS = /^(?:FSReq|GetAddrInfoReq)/;
/** For calls that do end, on a slow disk too. */
const LAST_CALLS_MS = 3_000;
const LOOK_EVERY_MS = 50;

/** Ends this program, whatever its calls to the system still wait for. */
function exit(code: number): void {
  const isWaiting = (): boolean => process.getActiveResourcesInfo().some((name) => ENDLESS.test(name));
  if (!isWaiting()) process.exit(code);
  setInterval(() => {
    if (!isWaiting()) process.exit(code);
  }, LOOK_EVERY_MS);
  // Node's own exit would wait for them: their threads are joined.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), LAST_CALLS_MS);
}

/** Files are 0600 and folders 0700, wherever in the program they are made. */
const PRIVATE_UMASK = 0o077;

/**
 * The frame of a program: start, wait until told, stop, exit. A program that does not stop within `graceMs` is ended.
 *
 * @param start brings everything up and returns how to take it down; `finish` ends the program from inside, `parent` is what the one
 *   that has started it may come to know
 */
export async function runProgram(
  start: (
    finish: () => void,
    parent: Promise<Record<string, unknown>>,
  ) => Promise<{ facts: Record<string, unknown>; stop: () => Promise<void> }>,
  graceMs = 15_000,
): Promise<void> {
  let finish = () => {};
  const finished = new Promise<string>((resolve) => {
    finish = () => resolve('finished');
  });
  const told = untilToldToStop();
  const parent = factsOfParent(told);
  // Most programs never ask.
  parent.catch(() => undefined);
  reopenOnHangUp();
  outliveReaders();
  // Whatever this program and its children write is their account's alone: inputs of people lie among it.
  process.umask(PRIVATE_UMASK);
  try {
    const { facts, stop } = await start(finish, parent);
    tellParent({ type: 'ready', facts });
    await Promise.race([told, finished]);
    setTimeout(() => exit(1), graceMs).unref();
    await stop();
    exit(0);
  } catch (error) {
    reportFatal(error);
    // Let the message reach the parent before the channel closes.
    const exitCode = isAppError(error, 'USAGE') ? 2 : 1;
    setTimeout(() => process.exit(exitCode), 50);
  }
}

/** Turns a failed listen into a sentence that names the flag. */
export function toListenError(error: unknown, what: string, port: number, flag: string): AppError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') {
    return new AppError(
      'PORT_TAKEN',
      `port ${port} for the ${what} is taken by another program; choose another with ${flag}`,
      { cause: error },
    );
  }
  return new AppError('CHILD_FAILED', `the ${what} cannot listen on port ${port}: ${textOf(error)}`, {
    cause: error,
  });
}
