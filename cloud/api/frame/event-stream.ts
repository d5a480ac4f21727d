/**
 * Server-sent events that one piece of work writes. Until the first of them has come a failure is an HTTP status; later it is an event.
 * When the reader goes, the work is told to end.
 */
import { type AppError, toAppError } from '../../../shared/runtime/errors.ts';

/** What the work of a stream has in its hands. */
interface StreamControl {
  /** Aborted when the reader has gone. */
  readonly signal: AbortSignal;
  /** Writes an event with this data; the response begins with the first one. */
  write(data: string): void;
  /** Begins the response, where the first event is still to come. */
  begin(): void;
}

/** Work that writes, and how its failure is written. */
export interface EventStreamOptions {
  readonly produce: (control: StreamControl) => Promise<void>;
  /** Aborted when the caller hangs up. */
  readonly callerSignal: AbortSignal;
  /** Data of the event that a failure is. */
  readonly failureOf: (error: AppError) => object;
}

/** @returns the events; resolves with the first of them @throws as `produce`, before the first event */
export async function openEventStream(options: EventStreamOptions): Promise<ReadableStream<Uint8Array>> {
  const { produce, callerSignal, failureOf } = options;
  const leaving = new AbortController();
  const leave = (): void => leaving.abort();
  callerSignal.addEventListener('abort', leave, { once: true });
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let isOpen = true;
  const stream = new ReadableStream<Uint8Array>({
    start: (one) => {
      controller = one;
    },
    cancel: () => {
      isOpen = false;
      leave();
    },
  });
  const { promise, resolve, reject } = begin();
  const write = (data: string): void => {
    if (isOpen) controller?.enqueue(Buffer.from(`data: ${data}\n\n`));
    resolve();
  };
  void produce({ signal: leaving.signal, write, begin: resolve })
    .catch((thrown: unknown) => {
      const error = toAppError(thrown);
      reject(error);
      write(JSON.stringify(failureOf(error)));
    })
    .finally(() => {
      callerSignal.removeEventListener('abort', leave);
      resolve();
      if (isOpen) controller?.close();
      isOpen = false;
    });
  await promise;
  return stream;
}

/** A promise that others settle. */
function begin(): { promise: Promise<void>; resolve: () => void; reject: (error: AppError) => void } {
  let settle: { resolve: () => void; reject: (error: AppError) => void } | undefined;
  const promise = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, resolve: () => settle?.resolve(), reject: (error) => settle?.reject(error) };
}
