/** What is kept in memory of the log: the open entries, where their records lie, and how many open records each segment holds. */
import type { OpenEntry, OutboxRequest, Priority } from '../ports.ts';
import type { LogRecord } from './record.ts';
import type { Position } from './segment-log.ts';

/** An open entry; its input and its reply stay on disk. */
export interface Held {
  readonly id: string;
  readonly pipeline: string;
  readonly priority: Priority;
  readonly bodyBytes: number;
  readonly acceptedAtMs: number;
  /** On the running-time clock. */
  readonly acceptedRunMs: number;
  readonly expiresRunMs: number;
  put: Position;
  answer: Position | undefined;
  /** A reply is being written: another one of the same moment is ignored. */
  answering: boolean;
  /** Every sink has had its provisional Result. */
  isShown: boolean;
}

/** Index of the log in memory: the open entries, and how many of them each segment still holds. */
export class Entries {
  /** In the order of acceptance. */
  #held = new Map<string, Held>();
  readonly #live = new Map<number, number>();
  #bytes = 0;
  readonly #waiting = new Map<string, { entries: number; bytes: number }>();

  get size(): number {
    return this.#held.size;
  }

  /** Bytes of the records of open entries' requests. */
  get bytes(): number {
    return this.#bytes;
  }

  get oldest(): Held | undefined {
    return this.#held.values().next().value;
  }

  /** What a pipeline has in here. */
  of(pipeline: string): { readonly entries: number; readonly bytes: number } {
    return this.#waiting.get(pipeline) ?? { entries: 0, bytes: 0 };
  }

  get(id: string): Held | undefined {
    return this.#held.get(id);
  }

  all(): Iterable<Held> {
    return this.#held.values();
  }

  /** Whether an open entry has a record in the segment. */
  isNeeded(segment: number): boolean {
    return (this.#live.get(segment) ?? 0) > 0;
  }

  add(held: Held): void {
    this.#held.set(held.id, held);
    this.#countPipeline(held, 1);
    this.#count(held, 1);
  }

  /** Gone already: nothing happens. */
  remove(held: Held): void {
    if (this.#held.get(held.id) !== held) return;
    this.#held.delete(held.id);
    this.#countPipeline(held, -1);
    this.#count(held, -1);
  }

  /** Gone already: its segments no longer count it. */
  setAnswer(held: Held, position: Position): void {
    if (this.#held.get(held.id) !== held) return;
    if (held.answer) this.#countSegment(held.answer.segment, -1);
    held.answer = position;
    this.#countSegment(position.segment, 1);
  }

  /** Its request was copied to another place. */
  move(held: Held, to: Position): void {
    this.#count(held, -1);
    held.put = to;
    this.#count(held, 1);
  }

  /** Takes up one record of the log as it is read back. */
  replay(record: LogRecord, position: Position, bodyBytes: number): void {
    const held = this.#held.get(record.id);
    switch (record.type) {
      case 'put':
        // A copy made by compaction: the newer place counts, the reply stays.
        if (held) this.move(held, position);
        else this.add(heldOf(record, record.acceptedRunMs, position, bodyBytes));
        break;
      case 'answer':
        if (held) this.setAnswer(held, position);
        break;
      case 'close':
        if (held) this.remove(held);
        break;
      case 'shown':
        if (held) held.isShown = true;
    }
  }

  /** Copies lie behind what was accepted after them: ids tell the order of acceptance. */
  sort(): void {
    if (this.#isSorted()) return;
    this.#held = new Map([...this.#held].sort(([one], [other]) => (one < other ? -1 : 1)));
  }

  #isSorted(): boolean {
    let before = '';
    for (const id of this.#held.keys()) {
      if (id < before) return false;
      before = id;
    }
    return true;
  }

  forgetSegment(segment: number): void {
    this.#live.delete(segment);
  }

  #count(held: Held, by: 1 | -1): void {
    this.#bytes += by * held.put.length;
    this.#countSegment(held.put.segment, by);
    if (held.answer) this.#countSegment(held.answer.segment, by);
  }

  #countPipeline({ pipeline, bodyBytes }: Held, by: 1 | -1): void {
    const { entries, bytes } = this.of(pipeline);
    this.#waiting.set(pipeline, { entries: entries + by, bytes: bytes + by * bodyBytes });
  }

  #countSegment(segment: number, by: 1 | -1): void {
    this.#live.set(segment, (this.#live.get(segment) ?? 0) + by);
  }
}

/** Index entry of a request that was accepted at this moment of the running time. */
export function heldOf(
  request: Pick<OutboxRequest, 'id' | 'pipeline' | 'priority' | 'acceptedAtMs' | 'expiresMs'>,
  acceptedRunMs: number,
  put: Position,
  bodyBytes: number,
): Held {
  const { id, pipeline, priority, acceptedAtMs, expiresMs } = request;
  return {
    id,
    pipeline,
    priority,
    bodyBytes,
    acceptedAtMs,
    acceptedRunMs,
    expiresRunMs: acceptedRunMs + expiresMs,
    put,
    answer: undefined,
    answering: false,
    isShown: false,
  };
}

/** Open entry as other parts see it, with its age and the time left until it expires. */
export const toOpenEntry = (
  { id, pipeline, priority, bodyBytes, acceptedAtMs, acceptedRunMs, expiresRunMs, answer, isShown }: Held,
  nowRunMs: number,
): OpenEntry => ({
  id,
  pipeline,
  priority,
  bodyBytes,
  acceptedAtMs,
  ageMs: nowRunMs - acceptedRunMs,
  expiresMs: expiresRunMs - nowRunMs,
  answered: answer !== undefined,
  isShown,
});
