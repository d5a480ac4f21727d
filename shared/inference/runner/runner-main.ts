/**
 * A runner: the forked child in which one model version runs, and the only door to native code. Started and spoken to by
 * `runner-process.ts`; answers in any order, each with its call's id.
 *
 * state   | event               -> state
 * idle    | load                -> loading
 * loading | loaded, warmed up   -> serving (says ready)
 * loading | failed              -> ended (says failed)
 * serving | stop                -> draining -> ended
 * any     | channel closed, parent gone, over the memory limit -> ended
 */
import '../../runtime/schema-words.ts';
import { writeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { readModelJson } from '../../release/folder/model-files.ts';
import { SPEC_FILE } from '../../release/folder/model-folder.ts';
import { modelSpec } from '../../release/folder/model-spec.ts';
import { checkGraphs } from '../../release/import/graph-check.ts';
import { AppError, type ErrorBody, isAppError, toAppError } from '../../runtime/errors.ts';
import { firstLine, isProvidersFault } from '../graph/runtime-message.ts';
import { openRemotely } from '../remote/remote-session.ts';
import { LOADERS } from '../tasks/loaders.ts';
import type { Inference, OnToken, Outcome } from './runner.ts';
import { type FromRunner, PROVIDER_FAILED_EXIT, type ToRunner, toRunner } from './runner-protocol.ts';
import type { RunControl, TaskModel } from './task-model.ts';
import { startWatchdog } from './watchdog.ts';

type Call = Extract<ToRunner, { id: number }>;
type Load = Extract<ToRunner, { type: 'load' }>;
type Piece = Extract<ToRunner, { type: 'piece' }>;
type ToShrink = Extract<ToRunner, { type: 'shrink' }>['to'];
/** Answers a message, or has nothing to answer. */
type Serve = (message: Exclude<ToRunner, Load | Piece>) => Promise<FromRunner | undefined>;

/** A generation says so often that it goes on: far below any time-out of a call. */
const SIGN_OF_LIFE_MS = 1_000;
/** Prepared inputs that wait for their batch; a caller that forgets them must not fill the memory. */
const MAX_HANDLES = 1_024;

function say(message: FromRunner, then: () => void = () => undefined): void {
  // The parent's end shows itself as `disconnect`.
  if (process.connected) process.send?.(message, undefined, undefined, then);
}

/** The message of our own bugs too: the parent is of our trust, and hides it from strangers. */
function bodyOf(error: unknown): ErrorBody {
  const { code, message } = toAppError(error);
  return { code, message };
}

async function load(options: Load): Promise<Serve> {
  if (options.watch !== null) startWatchdog(options.watch);
  await volunteerForOutOfMemory();
  const spec = await readModelJson(options.folder, SPEC_FILE, modelSpec);
  // Whoever brought it: this is the last door before native code.
  await checkGraphs(options.folder, spec);
  const source = {
    folder: options.folder,
    spec,
    threads: options.threads,
    allowSpinning: options.allowSpinning,
    executionProvider: options.executionProvider,
    ...(options.engine && { openSession: openRemotely(options.engine) }),
  };
  const model = await (await LOADERS[spec.task]())(source);
  say({
    type: 'ready',
    name: spec.name,
    task: spec.task,
    maxBatchSize: model.maxBatchSize,
    canBeLong: model.isLong !== undefined,
    executionProvider: model.executionProvider,
  });
  return serve(model);
}

/** When a machine runs out of memory, Linux should end a runner rather than the program that serves. */
async function volunteerForOutOfMemory(): Promise<void> {
  await writeFile('/proc/self/oom_score_adj', '500').catch(() => undefined);
}

const shrink = async (body: Uint8Array, { marks, ...to }: ToShrink): Promise<Uint8Array> =>
  (await import('../picture/image.ts')).shrinkPicture(body, { ...to, ...(marks && { marks }) });

function serve(model: TaskModel<unknown>): Serve {
  interface Waiting {
    readonly prepared: unknown;
    readonly preprocessMs: number;
  }
  const waiting = new Map<number, Waiting>();
  /** Of the calls that run. */
  const running = new Map<number, AbortController>();
  let nextHandle = 0;

  async function prepare(input: Parameters<typeof model.prepare>[0]): Promise<Waiting> {
    const startedMonoMs = performance.now();
    const prepared = await model.prepare(input);
    return { prepared, preprocessMs: performance.now() - startedMonoMs };
  }

  async function run(batch: readonly Waiting[], control: RunControl): Promise<(Inference | AppError)[]> {
    const startedMonoMs = performance.now();
    const answers = await model
      .run(
        batch.map(({ prepared }) => prepared),
        control,
      )
      .catch((error: unknown) => endWithProvider(model.executionProvider, error));
    const inferenceMs = performance.now() - startedMonoMs;
    return answers.map((answer, index) => {
      if (isAppError(answer)) return answer;
      const timingsMs = { preprocess: batch[index]?.preprocessMs ?? 0, inference: inferenceMs };
      return { ...answer, timingsMs };
    });
  }

  /** Runs what can be told to end, and whose tokens are told. */
  async function controlled<T>(
    { id, wantsTokens }: Extract<Call, { wantsTokens: boolean }>,
    work: (control: RunControl) => Promise<T>,
  ): Promise<T> {
    const stopper = new AbortController();
    running.set(id, stopper);
    const onToken: OnToken = (token, isLast) => say({ type: 'token', id, token, isLast });
    let saidMonoMs = performance.now();
    const onStep = (): void => {
      if (performance.now() - saidMonoMs < SIGN_OF_LIFE_MS) return;
      saidMonoMs = performance.now();
      say({ type: 'working', id });
    };
    try {
      return await work({ signal: stopper.signal, onStep, ...(wantsTokens && { onToken }) });
    } finally {
      running.delete(id);
    }
  }

  function take(handles: readonly number[]): Waiting[] {
    const batch = handles.map((handle) => waiting.get(handle));
    for (const handle of handles) waiting.delete(handle);
    return batch.map((entry) => {
      if (entry === undefined)
        throw new AppError('INVARIANT_BROKEN', 'a handle is unknown or was used before');
      return entry;
    });
  }

  return async (message) => {
    switch (message.type) {
      case 'infer': {
        const [value] = await controlled(message, async (control) =>
          run([await prepare(message.input)], control),
        );
        if (value === undefined) throw new AppError('INVARIANT_BROKEN', 'a run without an answer');
        if (isAppError(value)) throw value;
        const { shrink: asked } = message;
        const isWanted = asked !== null && (asked.below === null || value.routeScore < asked.below);
        // What it lacks for that is said when it is asked for alone.
        const shrunk = isWanted ? await shrink(message.input.body, asked.to).catch(() => null) : null;
        return { type: 'inferred', id: message.id, value, shrunk };
      }
      case 'prepare': {
        if (waiting.size >= MAX_HANDLES)
          throw new AppError('QUEUE_FULL', `${MAX_HANDLES} prepared inputs wait in the runner`);
        const prepared = await prepare(message.input);
        const handle = nextHandle++;
        waiting.set(handle, prepared);
        const shapeKey = model.shapeKey(prepared.prepared);
        const isLong = model.isLong?.(prepared.prepared) ?? false;
        return { type: 'prepared', id: message.id, handle, shapeKey, isLong };
      }
      case 'run': {
        const batch = take(message.handles);
        const keys = new Set(batch.map(({ prepared }) => model.shapeKey(prepared)));
        if (keys.size > 1 || batch.length > model.maxBatchSize)
          throw new AppError('INVARIANT_BROKEN', 'a batch of mixed shapes or above maxBatchSize');
        const values = await controlled(message, (control) => run(batch, control));
        const outcomes = values.map(
          (value): Outcome => (isAppError(value) ? { ok: false, error: bodyOf(value) } : { ok: true, value }),
        );
        return { type: 'ran', id: message.id, outcomes };
      }
      case 'shrink':
        return { type: 'shrunk', id: message.id, body: await shrink(message.body, message.to) };
      case 'discard':
        for (const handle of message.handles) waiting.delete(handle);
        return undefined;
      case 'cancel':
        running.get(message.call)?.abort();
        return undefined;
      case 'stop':
        return undefined;
    }
  };
}

/** A GPU that has failed once fails every run after it: the process ends, and another one is started on what still works. */
function endWithProvider(provider: string, error: unknown): never {
  if (provider === 'cpu' || !isProvidersFault(error)) throw error;
  // Written to a pipe, before the end: it is the reason that the parent tells.
  writeSync(2, `${provider} failed: ${firstLine(error)}\n`);
  process.exit(PROVIDER_FAILED_EXIT);
}

/** Everything from the first message to the end of the process. */
function main(): void {
  // The terminal's signals reach the whole group; only the parent decides when a runner ends.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  process.on('disconnect', () => process.exit(0));
  const open = new Set<Promise<void>>();
  let serving: Promise<Serve> | undefined;

  async function answer(message: Exclude<ToRunner, Load | Piece>): Promise<void> {
    try {
      const reply = await (await serving)?.(message);
      if (reply !== undefined) say(reply);
    } catch (error) {
      if (isCall(message)) say({ type: 'refused', id: message.id, error: bodyOf(error) });
    }
  }

  /** Of calls that have not come yet. */
  const pieces = new Map<number, Uint8Array[]>();
  process.on('message', (raw) => {
    const said = toRunner.parse(raw);
    if (said.type === 'piece') {
      pieces.set(said.call, [...(pieces.get(said.call) ?? []), said.bytes]);
      return;
    }
    const message = isCall(said) ? withBody(said, pieces.get(said.id)) : said;
    if (isCall(said)) pieces.delete(said.id);
    if (message.type === 'load') {
      serving = load(message);
      serving.catch((error: unknown) => say({ type: 'failed', error: bodyOf(error) }, () => process.exit(1)));
      return;
    }
    if (message.type === 'stop') {
      void Promise.allSettled(open).then(() => process.disconnect());
      return;
    }
    const work = answer(message);
    open.add(work);
    void work.finally(() => open.delete(work));
  });
}

/** With the body that has come ahead in pieces. */
function withBody(call: Call, pieces: readonly Uint8Array[] | undefined): Call {
  if (!pieces) return call;
  const body = Buffer.concat(pieces);
  if (call.type === 'infer' || call.type === 'prepare') return { ...call, input: { ...call.input, body } };
  return call.type === 'shrink' ? { ...call, body } : call;
}

const isCall = (message: ToRunner): message is Call => 'id' in message;

main();
