/** The thread's side of `BodyReading`: reads what it is told to, and gives bytes back as they are, without a copy. */
import { parentPort } from 'node:worker_threads';
import type { Readers, ReadOrder, ReadOutcome } from './body-reading.ts';
import { toAppError } from './errors.ts';

/** Smaller ones may lie in a memory that several share, and are copied. */
const MIN_MOVED_BYTES = 64 * 1024;
/** Bytes lie in an input in a list in what was read. */
const DEPTH = 3;

/** Serves until the thread is ended. */
export function serveReadings(readers: Readers): void {
  const answer = async ({ name, body, asked }: ReadOrder): Promise<void> => {
    try {
      const value = await readers[name]?.(body, asked as never);
      parentPort?.postMessage({ ok: true, value } satisfies ReadOutcome, [...buffersIn(value, DEPTH)]);
    } catch (error) {
      const { code, message, details } = toAppError(error);
      const told = { code, message, details: details && { ...details } };
      parentPort?.postMessage({ ok: false, error: told } satisfies ReadOutcome);
    }
  };
  parentPort?.on('message', (order: ReadOrder) => void answer(order));
}

function buffersIn(value: unknown, depth: number, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
  if (typeof value !== 'object' || value === null) return found;
  if (value instanceof Uint8Array) {
    const { buffer } = value;
    if (buffer instanceof ArrayBuffer && buffer.byteLength >= MIN_MOVED_BYTES) found.add(buffer);
  } else if (depth > 0) for (const one of Object.values(value)) buffersIn(one, depth - 1, found);
  return found;
}
