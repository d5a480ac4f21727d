/** A clock whose hands the test turns. */
import type { Clock } from '../../shared/runtime/clock.ts';

interface Alarm {
  readonly atMs: number;
  readonly run: () => void;
}

export class FakeClock implements Clock {
  #nowMs = 1_000_000;
  readonly #alarms = new Set<Alarm>();

  nowAtMs(): number {
    return this.#nowMs;
  }

  nowMonoMs(): number {
    return this.#nowMs;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const cancel = this.after(delayMs, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      const abort = (): void => {
        cancel();
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  after(delayMs: number, run: () => void): () => void {
    const alarm: Alarm = { atMs: this.#nowMs + delayMs, run };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  /** How many alarms have been set and have neither gone off nor been cancelled: how many wait for time to pass. */
  get waiting(): number {
    return this.#alarms.size;
  }

  /** As a machine that slept: the hands jump, and each alarm that was due meanwhile goes off once. */
  async skip(ms: number): Promise<void> {
    await settle();
    this.#nowMs += ms;
    for (const alarm of [...this.#alarms].filter(({ atMs }) => atMs <= this.#nowMs))
      if (this.#alarms.delete(alarm)) alarm.run();
    await settle();
  }

  /** Turns the hands forward; alarms on the way go off in their order, and what they set off is let run. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      const next = [...this.#alarms].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.#alarms.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

/** Requests to the disk, by the names that Node gives them; `CloseReq` is the closing of a `FileHandle`. */
const DISK_REQUESTS: ReadonlySet<string> = new Set(['FSReqCallback', 'FSReqPromise', 'CloseReq']);
/** As many turns as a chain of `setImmediate` and promises may rest between two requests to the disk. */
const QUIET_TURNS = 5;
/** A disk that syncs for others as well may take seconds; what is under way longer will never end. */
const GIVE_UP_MS = 60_000;

/** Lets everything that is ready run, until nothing is left to run and the disk has done all that it was asked for. */
export async function settle(): Promise<void> {
  const giveUpMonoMs = performance.now() + GIVE_UP_MS;
  for (let quiet = 0; quiet < QUIET_TURNS; ) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    const pending = process.getActiveResourcesInfo().filter((name) => DISK_REQUESTS.has(name));
    quiet = pending.length > 0 ? 0 : quiet + 1;
    if (performance.now() > giveUpMonoMs)
      throw new Error(`the disk has not been done within ${GIVE_UP_MS} ms: ${pending}`);
  }
}
