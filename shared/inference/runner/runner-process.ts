/**
 * The near side of a runner: forks `runner-main.ts` (its built file), pairs answers with calls, and ends the process when a call takes too
 * long. Whatever happens in there, this process sees an AppError.
 *
 * state    | event                        -> state
 * starting | ready                        -> up
 * starting | failed, exit, time-out       -> ended: startRunner rejects with the runner's own code
 * up       | a call's time-out            -> ended: RUNNER_TIMEOUT for it, RUNNER_CRASHED for the other calls
 * up       | exit                         -> ended: RUNNER_CRASHED for every call in flight
 * up       | stop()                       -> stopping: calls in flight finish, then exit; killed after the grace
 */
import type { ChildProcess } from 'node:child_process';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { AppError } from '../../runtime/errors.ts';
import { tellingLine } from '../../runtime/last-words.ts';
import type { TaskInput } from '../../tasks/tasks.ts';
import { checkInput } from './input-check.ts';
import type {
  CallControl,
  Inference,
  Outcome,
  Prepared,
  Runner,
  RunnerEnd,
  RunnerFacts,
  RunnerOptions,
  ShrinkBelow,
  Shrinking,
} from './runner.ts';
import { forkRunner, watchMemory } from './runner-guard.ts';
import { type FromRunner, fromRunner, PROVIDER_FAILED_EXIT, type ToRunner } from './runner-protocol.ts';

/** Calls in flight; each may hold a picture of tens of megabytes in the channel. Queues belong to the caller. */
const MAX_CALLS = 64;
/** Of one message: it is copied twice within a millisecond. */
const MAX_PIECE_BYTES = 1024 * 1024;
/** How much of the runner's stderr is kept to explain its end. */
const LAST_WORDS_CHARS = 2_000;
const DEFAULT_GRACE_MS = 5_000;

type Answer = Exclude<Extract<FromRunner, { id: number }>, Progress>;
type Progress = Extract<FromRunner, { type: 'token' | 'working' }>;
interface Call {
  /** It has come a token further: the time for the next one begins. */
  readonly onProgress: (progress: Progress) => void;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: AppError) => void;
  readonly cancelTimeout: () => void;
}

/** Starts a runner and waits until its model is loaded and warm. @throws MODEL_INVALID, RUNNER_START_FAILED */
export async function startRunner(options: RunnerOptions, clock: Clock = systemClock): Promise<Runner> {
  const runner = new RunnerProcess(options, clock);
  await runner.started;
  return runner;
}

class RunnerProcess implements Runner {
  readonly started: Promise<void>;
  readonly ended: Promise<RunnerEnd>;
  readonly #options: RunnerOptions;
  readonly #clock: Clock;
  readonly #child: ChildProcess;
  readonly #watchesItself: boolean;
  readonly #calls = new Map<number, Call>();
  #nextId = 0;
  #onWork: () => void = () => undefined;
  #facts: RunnerFacts | undefined;
  #lastWords = '';
  #isStopping = false;
  /** Why we ended the process, when we did. */
  #verdict: string | undefined;
  #end: RunnerEnd | undefined;

  constructor(options: RunnerOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    const { child, watchesItself } = forkRunner(options.libraries);
    this.#child = child;
    this.#watchesItself = watchesItself;
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#lastWords = (this.#lastWords + chunk.toString()).slice(-LAST_WORDS_CHARS);
    });
    this.ended = new Promise((resolve) => {
      const onEnd = (how: string, code: number | null = null) => {
        if (this.#end !== undefined) return;
        this.#end = {
          expected: this.#isStopping && this.#verdict === undefined,
          reason: this.#reason(how),
          ...(code === PROVIDER_FAILED_EXIT && { isProvidersFault: true }),
        };
        this.#failCalls();
        resolve(this.#end);
      };
      this.#child.once('close', (code, signal) => onEnd(signal ?? `exit ${code}`, code));
      // The fork itself failed (no memory, no processes left): there is no `close`. Else it is a failed send: `close` follows.
      this.#child.on('error', (error) => {
        if (this.#child.pid === undefined) onEnd(error.message);
      });
    });
    if (!watchesItself) this.#watchMemory();
    this.started = this.#start();
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get isUp(): boolean {
    return !this.#isStopping && this.#end === undefined && this.#verdict === undefined;
  }

  get facts(): RunnerFacts {
    if (this.#facts === undefined)
      throw new AppError('INVARIANT_BROKEN', 'a runner was used before it was ready');
    return this.#facts;
  }

  async infer(
    input: TaskInput,
    control: CallControl & { readonly shrink?: ShrinkBelow | undefined } = {},
  ): Promise<Inference & { readonly shrunk?: Uint8Array }> {
    checkInput(this.facts.task, input);
    const wantsTokens = control.onToken !== undefined;
    const { shrink } = control;
    const asked = shrink ? { below: shrink.below, to: toldOf(shrink.to) } : null;
    const answer = await this.#call(
      (id) => ({ type: 'infer', id, input, wantsTokens, shrink: asked }),
      control,
    );
    if (answer.type !== 'inferred') throw this.#confused(answer);
    return { ...answer.value, ...(answer.shrunk && { shrunk: answer.shrunk }) };
  }

  async prepare(input: TaskInput): Promise<Prepared> {
    checkInput(this.facts.task, input);
    const answer = await this.#call((id) => ({ type: 'prepare', id, input }));
    if (answer.type !== 'prepared') throw this.#confused(answer);
    const { handle, shapeKey, isLong } = answer;
    return { handle, shapeKey, isLong };
  }

  async run(handles: readonly number[], control: CallControl = {}): Promise<readonly Outcome[]> {
    const wantsTokens = control.onToken !== undefined;
    const answer = await this.#call(
      (id) => ({ type: 'run', id, handles: [...handles], wantsTokens }),
      control,
    );
    if (answer.type !== 'ran' || answer.outcomes.length !== handles.length) throw this.#confused(answer);
    return answer.outcomes;
  }

  discard(handles: readonly number[]): void {
    if (this.#end === undefined && handles.length > 0) this.#send({ type: 'discard', handles: [...handles] });
  }

  async shrink(body: Uint8Array, to: Shrinking): Promise<Uint8Array> {
    const answer = await this.#call((id) => ({ type: 'shrink', id, body, to: toldOf(to) }));
    if (answer.type !== 'shrunk') throw this.#confused(answer);
    return answer.body;
  }

  async stop(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    this.#isStopping = true;
    this.#send({ type: 'stop' });
    const cancel = this.#clock.after(graceMs, () => this.#child.kill('SIGKILL'));
    await this.ended;
    cancel();
  }

  /** Sends `load` and waits for `ready`, the runner's own refusal, its end, or the time-out. */
  #start(): Promise<void> {
    const { folder, digest, threads, maxRssBytes, startTimeoutMs } = this.#options;
    const { allowSpinning = false, executionProvider = 'cpu', engine = null } = this.#options;
    return new Promise((resolve, reject) => {
      const fail = (error: AppError) => {
        cancel();
        this.#kill(error.message);
        reject(error);
      };
      const cancel = this.#clock.after(startTimeoutMs, () =>
        fail(new AppError('RUNNER_START_FAILED', `the model was not ready within ${startTimeoutMs} ms`)),
      );
      void this.ended.then(({ reason }) =>
        fail(new AppError('RUNNER_START_FAILED', `the runner ended before it was ready: ${reason}`)),
      );
      this.#child.on('message', (raw) => {
        const parsed = fromRunner.safeParse(raw);
        if (!parsed.success) return this.#kill('the runner said something that is not of the protocol');
        const message = parsed.data;
        switch (message.type) {
          case 'ready': {
            const { name, task, maxBatchSize, canBeLong, executionProvider } = message;
            this.#facts = { name, task, digest, maxBatchSize, canBeLong, executionProvider };
            cancel();
            return resolve();
          }
          case 'failed':
            return fail(new AppError(message.error.code, message.error.message));
          case 'token':
          case 'working':
            return this.#calls.get(message.id)?.onProgress(message);
          case 'inferred':
          case 'prepared':
          case 'ran':
          case 'shrunk':
          case 'refused':
            return this.#settle(message);
        }
      });
      this.#send({
        ...{ type: 'load', folder, threads, allowSpinning, executionProvider, engine },
        watch: this.#watchesItself ? { parentPid: process.pid, maxRssBytes } : null,
      });
    });
  }

  async #call(message: (id: number) => ToRunner, control: CallControl = {}): Promise<Answer> {
    if (this.#isStopping) throw new AppError('STOPPING', 'the runner is stopping');
    if (this.#end !== undefined || this.#verdict !== undefined) throw this.#crashed();
    if (this.#calls.size >= MAX_CALLS) throw new AppError('QUEUE_FULL', `${MAX_CALLS} calls are in flight`);
    const id = this.#nextId++;
    // The runner works on one call at a time: each gets its own time and that of those before it.
    const timeoutMs = this.#options.callTimeoutMs * (this.#calls.size + 1);
    const onAbort = (): void => this.#send({ type: 'cancel', call: id });
    try {
      return await new Promise<Answer>((resolve, reject) => {
        const arm = (): (() => void) => this.#clock.after(timeoutMs, () => this.#onTimeout(id));
        let cancel = arm();
        this.#calls.set(id, {
          onProgress: (progress) => {
            cancel();
            cancel = arm();
            if (progress.type === 'token') control.onToken?.(progress.token, progress.isLast);
          },
          ...{ resolve, reject, cancelTimeout: () => cancel() },
        });
        this.#onWork();
        void this.#sendCall(message(id)).then(() => {
          if (control.signal?.aborted) onAbort();
          else control.signal?.addEventListener('abort', onAbort, { once: true });
        });
      });
    } finally {
      control.signal?.removeEventListener('abort', onAbort);
    }
  }

  #settle(answer: Answer): void {
    const call = this.#calls.get(answer.id);
    // An answer that crossed with the time-out: its caller has been told already.
    if (call === undefined) return;
    this.#calls.delete(answer.id);
    call.cancelTimeout();
    if (answer.type === 'refused') call.reject(new AppError(answer.error.code, answer.error.message));
    else call.resolve(answer);
  }

  #onTimeout(id: number): void {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    this.#calls.delete(id);
    const { callTimeoutMs } = this.#options;
    call.reject(
      new AppError('RUNNER_TIMEOUT', `the runner did not answer within ${callTimeoutMs} ms and was ended`),
    );
    this.#kill('a call took too long');
  }

  #failCalls(): void {
    for (const { reject, cancelTimeout } of this.#calls.values()) {
      cancelTimeout();
      reject(this.#crashed());
    }
    this.#calls.clear();
  }

  #crashed(): AppError {
    const reason = this.#end?.reason ?? this.#verdict;
    return new AppError('RUNNER_CRASHED', `the runner ended: ${reason}`, {
      details: { lastWords: this.#lastWords },
    });
  }

  #confused(answer: Answer): AppError {
    return new AppError('INVARIANT_BROKEN', `the runner answered with ${answer.type}`);
  }

  /** A failed send needs no handling of its own: the end of the process follows, and fails every call. */
  #send(message: ToRunner): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  /** A large body goes ahead in pieces: what writes a message copies all of it before it gives up its turn. */
  async #sendCall(message: ToRunner): Promise<void> {
    const body = bodyOf(message);
    if (!('id' in message) || !body || body.length <= MAX_PIECE_BYTES) return this.#send(message);
    for (let at = 0; at < body.length; at += MAX_PIECE_BYTES) {
      const bytes = body.subarray(at, at + MAX_PIECE_BYTES);
      await new Promise<void>((resolve) => {
        if (!this.#child.connected) return resolve();
        // A failed send needs no handling of its own.
        this.#child.send({ type: 'piece', call: message.id, bytes } satisfies ToRunner, () => resolve());
      });
    }
    this.#send(withoutBody(message));
  }

  #watchMemory(): void {
    const { maxRssBytes } = this.#options;
    const ending = new AbortController();
    void this.ended.then(() => ending.abort());
    const onTooMuch = (rssBytes: number): void =>
      this.#kill(`watchdog: memory of ${rssBytes} bytes is over the limit of ${maxRssBytes}`);
    const untilAtWork = (): Promise<void> | undefined => this.#untilAtWork();
    void watchMemory(this.pid, maxRssBytes, { signal: ending.signal, onTooMuch, untilAtWork });
  }

  /** Undefined while it loads, or has a call. */
  #untilAtWork(): Promise<void> | undefined {
    if (this.#facts === undefined || this.#calls.size > 0) return undefined;
    return new Promise((resolve) => {
      this.#onWork = resolve;
    });
  }

  #kill(verdict: string): void {
    this.#verdict ??= verdict;
    this.#child.kill('SIGKILL');
  }

  #reason(how: string): string {
    const said = tellingLine(this.#lastWords);
    return this.#verdict ?? (said === undefined ? how : `${how}: ${said}`);
  }
}

function bodyOf(message: ToRunner): Uint8Array | undefined {
  if (message.type === 'infer' || message.type === 'prepare') return message.input.body;
  return message.type === 'shrink' ? message.body : undefined;
}

/** Its body is in the pieces before it. */
function withoutBody(message: ToRunner): ToRunner {
  const body = new Uint8Array(0);
  if (message.type === 'infer' || message.type === 'prepare')
    return { ...message, input: { ...message.input, body } };
  return message.type === 'shrink' ? { ...message, body } : message;
}

/** As the protocol has it. */
const toldOf = (to: Shrinking) => ({
  ...to,
  always: to.always ?? false,
  marks: to.marks ?? null,
});
