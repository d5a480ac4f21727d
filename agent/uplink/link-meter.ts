/**
 * What went over the link, by day, pipeline and purpose, and the caps on it. Payload bytes are counted as they go; what the
 * transport took besides (frames, keep-alives, TLS) is the difference to what its sockets counted. Kept on disk, so that a
 * restart does not give the day's bytes a second time.
 */
import { z } from 'zod';
import { type LinkPurpose, type LinkUse, linkUse } from '../../shared/contract/messages.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { LinkMeter } from '../ports.ts';

/** Caps on the link’s bytes, and where today’s are kept. */
export interface StoredLinkMeterOptions {
  readonly path: string;
  /** A day, for the whole link; undefined: no cap. */
  readonly capBytes: number | undefined;
  /** A day, by pipeline. */
  readonly pipelineCapBytes: ReadonlyMap<string, number>;
  /** Input bytes of a pipeline that wait in the outbox: they will be paid for as well. */
  readonly waitingBytes: (pipeline: string) => number;
  /** Bytes of the transport since the start; undefined without a link. */
  readonly wireBytes: () => { readonly up: number; readonly down: number } | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** With a cap a crash must not give many bytes a second time; without one they are for people. */
const STORE_EVERY_MS = { withCap: 60_000, withoutCap: 10 * 60_000 };
const KEPT_DAYS = 31;
const day = z.object({ day: z.string(), use: z.array(linkUse) });
const stored = z.object({ days: z.array(day) });

/** Link meter that outlives restarts: bytes by day, pipeline and purpose, and whether more may go. */
export class StoredLinkMeter implements LinkMeter, Part {
  readonly #o: StoredLinkMeterOptions;
  readonly #stopping = new AbortController();
  /** By day, oldest first; then by pipeline and purpose. */
  #days = new Map<string, Map<string, LinkUse>>();
  /** Payload bytes since the start, and what of the transport's has been booked. */
  readonly #payload = { up: 0, down: 0 };
  readonly #booked = { up: 0, down: 0 };
  /** What the file holds of this run. */
  #stored = '[]';
  #loop: Promise<void> | undefined;

  constructor(options: StoredLinkMeterOptions) {
    this.#o = options;
  }

  async start(): Promise<void> {
    try {
      const file = await readJson(this.#o.path, stored);
      for (const { day: name, use } of file?.days ?? [])
        this.#days.set(name, new Map(use.map((one) => [keyOf(one.pipeline, one.purpose), one])));
    } catch (error) {
      this.#o.logger.failure('link_ledger.unreadable', error);
    }
    this.#loop = this.#keepStoring();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await this.#store();
  }

  count(pipeline: string | null, purpose: LinkPurpose, direction: 'up' | 'down', bytes: number): void {
    if (purpose !== 'overhead') this.#payload[direction] += bytes;
    const use = this.#today();
    const key = keyOf(pipeline, purpose);
    const before = use.get(key) ?? { pipeline, purpose, upBytes: 0, downBytes: 0 };
    const field = direction === 'up' ? 'upBytes' : 'downBytes';
    use.set(key, { ...before, [field]: before[field] + bytes });
    const labels = { direction, purpose, pipeline: pipeline ?? '' };
    this.#o.metrics.count('outrider_uplink_bytes_total', labels, bytes);
  }

  mayTransmit(): boolean {
    const { capBytes } = this.#o;
    return capBytes === undefined || this.#sum(() => true) < capBytes;
  }

  mayAccept(pipeline: string, bytes: number): boolean {
    const { capBytes, pipelineCapBytes, waitingBytes } = this.#o;
    const waiting = waitingBytes(pipeline);
    if (capBytes !== undefined && this.#sum(() => true) + waiting + bytes > capBytes) return false;
    const own = pipelineCapBytes.get(pipeline);
    return own === undefined || this.#sum((use) => use.pipeline === pipeline) + waiting + bytes <= own;
  }

  today(): { readonly day: string; readonly capBytes: number | undefined; readonly use: readonly LinkUse[] } {
    this.#bookOverhead();
    return { day: this.#dayName(), capBytes: this.#o.capBytes, use: [...this.#today().values()] };
  }

  #sum(isWanted: (use: LinkUse) => boolean): number {
    let sum = 0;
    for (const use of this.#today().values()) if (isWanted(use)) sum += use.upBytes + use.downBytes;
    return sum;
  }

  #today(): Map<string, LinkUse> {
    const name = this.#dayName();
    const known = this.#days.get(name);
    if (known) return known;
    const made = new Map<string, LinkUse>();
    this.#days = new Map([...this.#days, [name, made] as const].slice(-KEPT_DAYS));
    return made;
  }

  #dayName(): string {
    return new Date(this.#o.clock.nowAtMs()).toISOString().slice(0, 10);
  }

  #bookOverhead(): void {
    const wire = this.#o.wireBytes();
    if (!wire) return;
    for (const direction of ['up', 'down'] as const) {
      const overhead = wire[direction] - this.#payload[direction] - this.#booked[direction];
      // What was counted may still wait in a buffer.
      if (overhead <= 0) continue;
      this.#booked[direction] += overhead;
      this.count(null, 'overhead', direction, overhead);
    }
  }

  async #keepStoring(): Promise<void> {
    const { signal } = this.#stopping;
    const hasCap = this.#o.capBytes !== undefined || this.#o.pipelineCapBytes.size > 0;
    const everyMs = hasCap ? STORE_EVERY_MS.withCap : STORE_EVERY_MS.withoutCap;
    while (!signal.aborted) {
      await this.#o.clock.sleep(everyMs, signal).catch(() => undefined);
      if (!signal.aborted) await this.#store();
    }
  }

  async #store(): Promise<void> {
    this.#bookOverhead();
    const days = [...this.#days].map(([name, use]) => ({ day: name, use: [...use.values()] }));
    const content = JSON.stringify(days);
    if (content === this.#stored) return;
    try {
      await writeJsonAtomic(this.#o.path, { days });
      this.#stored = content;
    } catch (error) {
      this.#o.logger.failure('link_ledger.not_stored', error);
    }
  }
}

/** Names of pipelines have no slash. */
const keyOf = (pipeline: string | null, purpose: LinkPurpose): string => `${pipeline ?? ''}/${purpose}`;
