/**
 * What waits to be sent: a lane for each pipeline, in the order of acceptance; callers that wait go before feeds, feeds before
 * audits, and lanes of the same priority take turns, so that no busy pipeline holds up another.
 */
import type { OpenEntry, Priority } from '../ports.ts';

const PRIORITIES = ['interactive', 'feed', 'background'] as const satisfies readonly Priority[];

type Entry = Pick<OpenEntry, 'id' | 'pipeline' | 'priority'>;

/** Send queue with a lane for each pipeline and priority; lanes of one priority take turns. */
export class Lanes {
  /** By priority and pipeline; the pipeline whose turn it is comes first. */
  readonly #lanes: Record<Priority, Map<string, Set<string>>> = {
    interactive: new Map(),
    feed: new Map(),
    background: new Map(),
  };

  add({ id, pipeline, priority }: Entry): void {
    const lane = this.#lanes[priority].get(pipeline);
    if (lane) lane.add(id);
    else this.#lanes[priority].set(pipeline, new Set([id]));
  }

  has({ id, pipeline, priority }: Entry): boolean {
    return this.#lanes[priority].get(pipeline)?.has(id) === true;
  }

  /** Back to the front of their lanes, in the order of acceptance, which is that of their ids. */
  putBack(entries: readonly Entry[]): void {
    const back = new Lanes();
    for (const entry of [...entries].sort((one, other) => (one.id < other.id ? -1 : 1))) back.add(entry);
    for (const priority of PRIORITIES) {
      for (const [pipeline, lane] of back.#lanes[priority])
        this.#lanes[priority].set(
          pipeline,
          new Set([...lane, ...(this.#lanes[priority].get(pipeline) ?? [])]),
        );
    }
  }

  remove(id: string): void {
    for (const priority of PRIORITIES) for (const lane of this.#lanes[priority].values()) lane.delete(id);
  }

  /** The next to send, which leaves its lane. @param isOpen whether anything of this pipeline may go now */
  take(isOpen: (pipeline: string) => boolean): string | undefined {
    for (const priority of PRIORITIES) {
      for (const [pipeline, lane] of this.#lanes[priority]) {
        if (!isOpen(pipeline)) continue;
        const id = this.#takeFrom(priority, pipeline, lane);
        if (id !== undefined) return id;
      }
    }
    return undefined;
  }

  clear(): void {
    for (const priority of PRIORITIES) this.#lanes[priority].clear();
  }

  #takeFrom(priority: Priority, pipeline: string, lane: Set<string>): string | undefined {
    const [id] = lane;
    this.#lanes[priority].delete(pipeline);
    if (id === undefined) return undefined;
    lane.delete(id);
    // Last in the row: the others have their turn.
    if (lane.size > 0) this.#lanes[priority].set(pipeline, lane);
    return id;
  }
}
