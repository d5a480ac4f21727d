/**
 * Large bodies are read (parsed, checked, decoded) in a thread of their own, so that they hold nobody up: `JSON.parse` cannot be
 * interrupted. Small ones are read where they are, which is sooner. There is one thread: it starts with the first large body, reads one
 * at a time, and ends when none has come for a while. What waits for it is bounded by what bodies may hold (`BodyReader`).
 */
import { Worker } from 'node:worker_threads';
import type { Clock } from './clock.ts';
import { AppError, type ErrorCode, systemCode } from './errors.ts';

/** Below it a body is read within 10 ms, whatever is in it: numbers cost most, 40 ms for 256 KB. measured: docs/decisions/0037 */
const LARGE_BYTES = 64 * 1024;
/** Its code is read anew by the next one, which takes a tenth of a second of another core. */
const IDLE_MS = 30_000;

/** Of the thread: the largest body, 16 million numbers of one digit, takes some hundred. */
const MAX_HEAP_MIB = 1_024;

/** Makes of a body what was asked by it: pure, of what can be sent to a thread and back. @throws AppError */
type Reader = (body: Uint8Array, asked: never) => unknown;
/** Readers by name, the same here and in the thread. */
export type Readers = Readonly<Record<string, Reader>>;

/** What the thread is told. */
export interface ReadOrder {
  readonly name: string;
  readonly body: Uint8Array;
  readonly asked: unknown;
}

/** What it answers. */
export type ReadOutcome =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false;
      readonly error: {
        readonly code: ErrorCode;
        readonly message: string;
        readonly details: Record<string, unknown> | undefined;
      };
    };

interface Job {
  readonly order: ReadOrder;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: AppError) => void;
}

/** Bodies of all requests of a program, each read by one of its readers. */
export class BodyReading<R extends Readers> {
  readonly #readers: R;
  /** Serves the same readers (`serveReadings`). */
  readonly #program: () => URL;
  readonly #clock: Clock;
  readonly #maxHeapMiB: number;
  readonly #waiting: Job[] = [];
  #current: Job | undefined;
  #thread: Worker | undefined;
  #cancelEnd: () => void = () => undefined;

  constructor(options: {
    readonly readers: R;
    readonly program: () => URL;
    readonly clock: Clock;
    /** Memory of the thread for what it makes of a body. */
    readonly maxHeapMiB?: number;
  }) {
    this.#maxHeapMiB = options.maxHeapMiB ?? MAX_HEAP_MIB;
    this.#readers = options.readers;
    this.#program = options.program;
    this.#clock = options.clock;
  }

  /**
   * A large body belongs to the thread from then on.
   *
   * @param weightBytes how much of the body has to be looked at; all of it when left out
   * @throws as the reader; INPUT_TOO_LARGE where the memory does not suffice to read it
   */
  async read<N extends keyof R & string>(
    name: N,
    body: Uint8Array,
    asked: Parameters<R[N]>[1],
    weightBytes: number = body.length,
  ): Promise<Awaited<ReturnType<R[N]>>> {
    type Read = Awaited<ReturnType<R[N]>>;
    if (weightBytes < LARGE_BYTES) return (await this.#readers[name]?.(body, asked as never)) as Read;
    const read = await new Promise<unknown>((resolve, reject) => {
      this.#waiting.push({ order: { name, body, asked }, resolve, reject });
      this.#next();
    });
    return read as Read;
  }

  #next(): void {
    if (this.#current) return;
    this.#cancelEnd();
    const job = this.#waiting.shift();
    if (!job) {
      this.#cancelEnd = this.#clock.after(IDLE_MS, () => this.#end());
      return;
    }
    this.#current = job;
    this.#thread ??= this.#start();
    const { body } = job.order;
    const isWhole = body.byteLength === body.buffer.byteLength;
    // A program goes on while it reads, and ends whether the thread has ended or not.
    this.#thread.ref();
    this.#thread.postMessage(job.order, isWhole ? [body.buffer as ArrayBuffer] : []);
  }

  #start(): Worker {
    const thread = new Worker(this.#program(), {
      resourceLimits: { maxOldGenerationSizeMb: this.#maxHeapMiB },
    });
    /** What the thread was at is done with; nothing, where it has ended with nothing to do. */
    const done = (settle: (job: Job) => void): void => {
      const job = this.#current;
      this.#current = undefined;
      if (job) settle(job);
      thread.unref();
      this.#next();
    };
    const broken = (error: AppError): void => {
      if (this.#thread !== thread) return;
      this.#thread = undefined;
      done(({ reject }) => reject(error));
    };
    thread.on('message', (outcome: ReadOutcome) =>
      done(({ resolve, reject }) => {
        if (outcome.ok) return resolve(outcome.value);
        const { code, message, details } = outcome.error;
        reject(new AppError(code, message, details && { details }));
      }),
    );
    thread.on('error', (error) =>
      broken(
        systemCode(error) === 'ERR_WORKER_OUT_OF_MEMORY'
          ? new AppError('INPUT_TOO_LARGE', 'reading the body takes more memory than there is')
          : new AppError('INVARIANT_BROKEN', 'the thread that reads large bodies has failed', {
              cause: error,
            }),
      ),
    );
    thread.on('exit', () =>
      broken(new AppError('INVARIANT_BROKEN', 'the thread that reads large bodies has ended')),
    );
    return thread;
  }

  #end(): void {
    const thread = this.#thread;
    this.#thread = undefined;
    void thread?.terminate();
  }
}
