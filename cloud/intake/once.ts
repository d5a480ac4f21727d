/**
 * The same request gets the same reply: replies by device and id, bounded by count, bytes and age, and the requests
 * that are being worked on. A device asks again whenever it is not sure. A journal keeps the replies over a restart.
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import type { KeptReply } from './reply-journal.ts';

/** How much is remembered: replies, bytes and milliseconds. */
export interface OnceLimits {
  readonly maxReplies: number;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

/** An hour of replies, in 64 MiB. */
export const DEFAULT_ONCE_LIMITS: OnceLimits = {
  maxReplies: 20_000,
  maxBytes: 64 * 1024 * 1024,
  maxAgeMs: 3_600_000,
};

/** Log in which replies outlive the process. */
export interface ReplyLog {
  append(reply: KeptReply, written: () => void): void;
}

interface Kept {
  readonly frame: Uint8Array;
  readonly sinceMonoMs: number;
}

/** State of a request that has come. */
export type Seen =
  | { readonly state: 'new' }
  | { readonly state: 'in-progress' }
  | { readonly state: 'answered'; readonly frame: Uint8Array };

/** Requests and replies by device and id. */
export class Once {
  readonly #clock: Clock;
  readonly #limits: OnceLimits;
  readonly #journal: ReplyLog | undefined;
  readonly #inProgress = new Map<string, number>();
  /** Oldest first. */
  readonly #replies = new Map<string, Kept>();
  #bytes = 0;

  constructor(clock: Clock, limits: OnceLimits = DEFAULT_ONCE_LIMITS, journal?: ReplyLog) {
    this.#clock = clock;
    this.#limits = limits;
    this.#journal = journal;
  }

  /** Takes up what an earlier run has answered, oldest first. */
  restore(replies: readonly KeptReply[]): void {
    for (const { key, frame, atMs } of replies) {
      const ageMs = Math.max(0, this.#clock.nowAtMs() - atMs);
      // A copy: the frame may be a view of a whole file.
      this.#keep(key, Buffer.from(frame), this.#clock.nowMonoMs() - ageMs);
    }
  }

  look(device: string, id: string): Seen {
    const key = keyOf(device, id);
    const kept = this.#replies.get(key);
    if (kept && this.#clock.nowMonoMs() - kept.sinceMonoMs <= this.#limits.maxAgeMs)
      return { state: 'answered', frame: kept.frame };
    return this.#inProgress.has(key) ? { state: 'in-progress' } : { state: 'new' };
  }

  /** Looks a request up; a new one counts as being worked on from here. */
  begin(device: string, id: string): Seen {
    const seen = this.look(device, id);
    if (seen.state === 'new') this.#inProgress.set(keyOf(device, id), this.#clock.nowMonoMs());
    return seen;
  }

  /** Requests of this hub process that are being worked on. */
  get inProgress(): number {
    return this.#inProgress.size;
  }

  /**
   * @param frame the final reply, or undefined when the device is to ask again
   * @param kept runs once the reply outlives this process: whatever happens, the request will not be worked on again
   */
  end(device: string, id: string, frame: Uint8Array | undefined, kept: () => void = () => undefined): void {
    const key = keyOf(device, id);
    this.#inProgress.delete(key);
    if (!frame) return;
    this.#keep(key, frame, this.#clock.nowMonoMs());
    if (this.#journal) this.#journal.append({ key, frame, atMs: this.#clock.nowAtMs() }, kept);
    else kept();
  }

  #keep(key: string, frame: Uint8Array, sinceMonoMs: number): void {
    this.#drop(key);
    this.#replies.set(key, { frame, sinceMonoMs });
    this.#bytes += frame.length;
    this.#trim();
  }

  #trim(): void {
    const { maxReplies, maxBytes, maxAgeMs } = this.#limits;
    const oldestMonoMs = this.#clock.nowMonoMs() - maxAgeMs;
    for (const [key, { sinceMonoMs }] of this.#replies) {
      if (this.#replies.size <= maxReplies && this.#bytes <= maxBytes && sinceMonoMs >= oldestMonoMs) return;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    const kept = this.#replies.get(key);
    if (!kept) return;
    this.#bytes -= kept.frame.length;
    this.#replies.delete(key);
  }
}

/** Ids of devices have no slash. */
const keyOf = (device: string, id: string): string => `${device}/${id}`;
