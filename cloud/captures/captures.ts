/**
 * What devices let the hub keep: inputs of pipelines that say `share: inputs`, with both answers. Bounded by bytes, number and age; what
 * teaches least goes first, an unbiased sample keeps a share of its own.
 *
 *   an answered request -> waiting line (bounded; a reply waits for nothing of this)
 *     -> known already? counted -> no room, and teaches less than all others? dropped -> input on disk -> line on disk -> in memory
 *
 * Whatever is killed when: a capture is there whole or not at all. What is erased is gone from the disk when `erase` returns.
 */
import type {
  CaptureDetail,
  CaptureErasure,
  CaptureFilter,
  CaptureSummary,
  ErasedCaptures,
  FoundCaptures,
} from '../../shared/contract/captures.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { newId, sha256Hex } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import type { CaptureBook, EventSink, SharedInput } from '../ports.ts';
import { CaptureFiles } from './capture-files.ts';
import type { Fingerprints } from './fingerprints.ts';
import { matches, summaryOf } from './look.ts';
import { captureOf } from './make-capture.ts';
import { type Fingerprint, nearness, toText } from './near.ts';
import { encodeLine, type Held, heldOf, type LogLine, type StoredCapture } from './record.ts';
import { Shelf } from './shelf.ts';
import { isSampled } from './worth.ts';

/** Folder of captures, how much there may be, and who makes fingerprints. */
export interface CapturesOptions {
  readonly folder: string;
  /** 0: none are kept, and those that are there go. */
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  readonly fingerprints: Pick<Fingerprints, 'of' | 'ofAnything'>;
  /** Whether the device may still be heard: what comes of one that was revoked is not kept. */
  readonly isActive: (deviceId: string) => boolean;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** About a kilobyte of memory each. */
const MAX_CAPTURES = 50_000;
/** Larger inputs are not kept: one would push out too many others. */
const MAX_INPUT_BYTES = 8 * 1024 * 1024;
/** Of both answers as JSON: a line of the log is read whole. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Waiting to be written. */
const MAX_WAITING = { captures: 1_000, bytes: 64 * 1024 * 1024 };
/** Written at a time: a disk waits as long for one. */
const BATCH = 32;
const LOOK_EVERY_MS = 10 * 60_000;
/** Whoever watches hears of it so often at most. */
const TELL_EVERY_MS = 5_000;
/** The log is written anew when what says nothing any more is more than this and than the rest. */
const MIN_STALE_BYTES = 4 * 1024 * 1024;
/** Of a search. */
const MAX_FOUND = 1_000;

/** Captures of this hub. */
export class Captures implements CaptureBook, Part {
  readonly #o: CapturesOptions;
  readonly #files: CaptureFiles;
  readonly #shelf: Shelf;
  readonly #queue = new SerialQueue();
  readonly #dropped = new Map<string, number>();
  #waiting: SharedInput[] = [];
  #waitingBytes = 0;
  #cancelLook: () => void = () => undefined;
  #cancelTell: (() => void) | undefined;

  constructor(options: CapturesOptions) {
    this.#o = options;
    this.#files = new CaptureFiles(options.folder);
    this.#shelf = new Shelf({ maxBytes: options.maxBytes, maxCaptures: MAX_CAPTURES });
  }

  /** Takes up what an earlier run has left. A log that cannot be read is told, and captures begin anew. */
  async start(): Promise<void> {
    const { logger, metrics } = this.#o;
    const shelf = this.#shelf;
    const drop = (id: string): void => {
      const held = shelf.get(id);
      if (held) shelf.remove(held);
    };
    const unreadable = await this.#files.load(
      (held) => {
        drop(held.record.id);
        shelf.add(held);
      },
      drop,
      ({ id, times, weight }) => {
        const held = shelf.get(id);
        if (held) held.record = { ...held.record, seen: times, weight };
      },
    );
    if (unreadable > 0) logger.warn('captures.lines_unreadable', { lines: unreadable });
    const there = await this.#files.sweep((sha256) => shelf.hasInput(sha256));
    for (const held of [...shelf.all()]) if (!there.has(held.record.input.sha256)) shelf.remove(held);
    metrics.gauge(
      'outrider_captures',
      'Inputs with both answers that are kept for training',
      () => shelf.size,
    );
    metrics.gauge('outrider_captures_bytes', 'Disk that they take', () => shelf.bytes);
    await this.#tidy();
    this.#lookLater();
  }

  async stop(): Promise<void> {
    this.#cancelLook();
    this.#cancelTell?.();
    await this.#queue.settled();
    await this.#files.close();
  }

  /** Returns at once, whatever becomes of it. */
  take(input: SharedInput): void {
    const bytes = input.body.length;
    if (this.#o.maxBytes === 0) return;
    const isTooLarge = bytes > Math.min(MAX_INPUT_BYTES, this.#o.maxBytes / 2);
    const isBusy =
      this.#waiting.length >= MAX_WAITING.captures || this.#waitingBytes + bytes > MAX_WAITING.bytes;
    if (isTooLarge || isBusy) {
      this.#count(isTooLarge ? 'too-large' : 'busy');
      return;
    }
    this.#waitingBytes += bytes;
    this.#waiting.push(input);
    if (this.#waiting.length === 1) void this.#queue.run(() => this.#keepWaiting());
  }

  /** Everything that has been taken by now is kept or not. */
  settled(): Promise<void> {
    return this.#queue.settled();
  }

  list(
    filter: CaptureFilter,
    { limit, after }: { readonly limit: number; readonly after?: string | undefined },
  ) {
    const found: Held[] = [];
    // Its place where it is still there: a clock that was set back gives smaller ids to later ones.
    const last = after === undefined ? undefined : this.#shelf.get(after);
    let isPast = last === undefined;
    for (const held of [...this.#shelf.all()].reverse()) {
      if (!isPast) {
        isPast = held === last;
        continue;
      }
      if (!last && after !== undefined && held.record.id >= after) continue;
      if (!matches(held.record, filter)) continue;
      found.push(held);
      if (found.length > limit) break;
    }
    const captures = found.slice(0, limit).map(({ record }) => record);
    return { captures, next: found.length > limit ? (captures.at(-1)?.id ?? null) : null };
  }

  async get(id: string): Promise<CaptureDetail> {
    const held = this.#find(id);
    // The log may just be written anew: then after that.
    const stored = await this.#files
      .read(held)
      .catch(() => this.#queue.run(() => this.#files.read(this.#find(id))));
    const { requestId, parameters, answers } = stored;
    return { ...held.record, requestId, parameters, answers };
  }

  inputOf(id: string): { readonly path: string; readonly bytes: number; readonly sha256: string } {
    const { sha256, bytes } = this.#find(id).record.input;
    return { path: this.#files.inputPath(sha256), bytes, sha256 };
  }

  summary(filter: CaptureFilter): CaptureSummary {
    const { maxBytes, maxAgeMs } = this.#o;
    const dropped = Object.fromEntries(this.#dropped);
    return { ...summaryOf(this.#shelf.all(), filter), maxBytes, maxAgeMs, dropped };
  }

  async search(body: Uint8Array): Promise<FoundCaptures> {
    await this.#queue.settled();
    const sha256 = sha256Hex(body);
    const pictureModels = new Set(
      [...this.#shelf.all()]
        .filter(({ print }) => print?.kind === 'picture')
        .map((one) => one.record.cloud.model.name),
    );
    const print = await this.#o.fingerprints.ofAnything(body, pictureModels);
    const found = [...this.#shelf.all()].flatMap(({ record, print: other }) => {
      const far = record.input.sha256 === sha256 ? 0 : print && other && nearness(print, other, 'alike');
      return far === undefined ? [] : [{ ...record, distance: far }];
    });
    found.sort((one, other) => one.distance - other.distance);
    return { by: print?.kind ?? 'digest', captures: found.slice(0, MAX_FOUND) };
  }

  erase(which: CaptureErasure | { readonly id: string }, by: string | null): Promise<ErasedCaptures> {
    return this.#queue.run(async () => {
      const meant = 'id' in which ? [this.#find(which.id)] : this.#meantBy(which);
      const before = this.#shelf.bytes;
      await this.#remove(meant, 'erased');
      // Its line had the answers.
      if (meant.length > 0) await this.#files.rewrite(this.#shelf.all());
      const done = { erased: meant.length, bytes: before - this.#shelf.bytes };
      this.#o.logger.info('captures.erased', { ...done, by });
      return done;
    });
  }

  #meantBy({ before, ...filter }: CaptureErasure): Held[] {
    if (Object.values({ before, ...filter }).every((one) => one === undefined))
      throw new AppError('BAD_REQUEST', 'say which: device, pipeline, model or before');
    const isMeant = ({ record }: Held): boolean =>
      matches(record, filter) && (before === undefined || record.atMs < before);
    return [...this.#shelf.all()].filter(isMeant);
  }

  /** Never rejects. */
  async #keepWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH);
      try {
        await this.#keep(batch);
      } catch (error) {
        for (const _one of batch) this.#count('failed');
        this.#o.logger.failure('captures.not_kept', error, { captures: batch.length });
      }
      // Not before: what is being written counts as waiting.
      this.#waiting = this.#waiting.slice(batch.length);
      for (const { body } of batch) this.#waitingBytes -= body.length;
    }
    await this.#rewriteWhereStale().catch((error: unknown) =>
      this.#o.logger.failure('captures.not_tidied', error),
    );
  }

  /** In memory as they are decided, since each is compared with those before it; then on disk, all at once. */
  async #keep(batch: readonly SharedInput[]): Promise<void> {
    const prints = await Promise.all(batch.map((input) => this.#o.fingerprints.of(input)));
    const plan = new Plan();
    for (const [index, input] of batch.entries()) this.#count(this.#decide(input, prints[index], plan));
    const puts = plan.puts.filter(({ held }) => this.#shelf.get(held.record.id) === held);
    try {
      await this.#files.putInputs(new Map(puts.map(({ held, body }) => [held.record.input.sha256, body])));
      const gone = plan.leaving.map(({ record }) => record.id);
      const lines: LogLine[] = [
        ...puts.map(({ stored }) => ({ put: stored })),
        ...plan.seen.map(({ record: { id, seen: times, weight } }) => ({ seen: { id, times, weight } })),
        ...(gone.length > 0 ? [{ gone }] : []),
      ];
      if (lines.length === 0) return;
      const places = await this.#files.append(lines);
      for (const [index, { held }] of puts.entries()) held.at = places[index] ?? held.at;
      this.#tell();
    } catch (error) {
      for (const { held } of puts) this.#shelf.remove(held);
      throw error;
    } finally {
      for (const { record } of plan.leaving) {
        this.#count('evicted');
        if (!this.#shelf.hasInput(record.input.sha256)) await this.#files.removeInput(record.input.sha256);
      }
    }
  }

  /** @returns what becomes of it, as it is counted */
  #decide(input: SharedInput, print: Fingerprint | undefined, plan: Plan): string {
    const { deviceId, pipeline, task, body } = input;
    if (!this.#o.isActive(deviceId)) return 'revoked';
    const { answerBytes, ...made } = captureOf(input);
    if (answerBytes > MAX_ANSWER_BYTES) return 'too-large';
    const sha256 = sha256Hex(body);
    const near = this.#shelf.nearest({ pipeline, task }, sha256, print);
    if (near && isSameAnswer(near, made)) {
      const { seen, weight } = near.record;
      near.record = { ...near.record, seen: seen + 1, weight: weight + made.weight };
      plan.seen.push(near);
      return near.record.input.sha256 === sha256 ? 'duplicate' : 'near-duplicate';
    }
    const group = near?.record.group ?? sha256;
    const stored: StoredCapture = {
      ...made,
      id: newId(),
      atMs: this.#o.clock.nowAtMs(),
      seen: 1,
      input: { sha256, bytes: body.length, contentType: input.contentType },
      group,
      isSample: isSampled(made.why, group),
      fingerprint: print ? toText(print) : null,
    };
    const held = heldOf(stored, { offset: -1, length: encodeLine({ put: stored }).length });
    const leaving = this.#shelf.excess(held);
    if (leaving.includes(held)) return 'full';
    for (const one of leaving) this.#shelf.remove(one);
    plan.leaving.push(...leaving);
    this.#shelf.add(held);
    plan.puts.push({ held, stored, body });
    return 'kept';
  }

  async #remove(meant: readonly Held[], outcome: string): Promise<void> {
    if (meant.length === 0) return;
    await this.#files.append([{ gone: meant.map(({ record }) => record.id) }]);
    for (const held of meant) {
      const isLast = this.#shelf.remove(held);
      if (isLast) await this.#files.removeInput(held.record.input.sha256);
      this.#count(outcome);
    }
    this.#tell();
  }

  /** What is too old goes, and what is too much where there may be less than before. */
  async #tidy(): Promise<void> {
    const oldestAtMs = this.#o.clock.nowAtMs() - this.#o.maxAgeMs;
    const old = [...this.#shelf.all()].filter(({ record }) => record.atMs < oldestAtMs);
    await this.#remove(old, 'expired');
    const excess = this.#shelf.excess();
    await this.#remove(excess, 'evicted');
    if (old.length + excess.length > 0) await this.#files.rewrite(this.#shelf.all());
  }

  async #rewriteWhereStale(): Promise<void> {
    const useful = this.#shelf.lineBytes;
    const stale = this.#files.logBytes - useful;
    if (stale > Math.max(MIN_STALE_BYTES, useful)) await this.#files.rewrite(this.#shelf.all());
  }

  #lookLater(): void {
    this.#cancelLook = this.#o.clock.after(LOOK_EVERY_MS, () => {
      void this.#queue
        .run(async () => {
          await this.#tidy();
          await this.#rewriteWhereStale();
        })
        .catch((error: unknown) => this.#o.logger.failure('captures.not_tidied', error));
      this.#lookLater();
    });
  }

  #find(id: string): Held {
    const held = this.#shelf.get(id);
    if (!held) throw new AppError('NOT_FOUND', 'there is no capture of this id');
    return held;
  }

  #count(outcome: string): void {
    this.#o.metrics.count('outrider_captures_total', { outcome });
    if (outcome !== 'kept') this.#dropped.set(outcome, (this.#dropped.get(outcome) ?? 0) + 1);
  }

  #tell(): void {
    this.#cancelTell ??= this.#o.clock.after(TELL_EVERY_MS, () => {
      this.#cancelTell = undefined;
      this.#o.events.publish({ type: 'captures', kept: this.#shelf.size, bytes: this.#shelf.bytes });
    });
  }
}

/** What a batch comes to on disk. */
class Plan {
  readonly puts: { readonly held: Held; readonly stored: StoredCapture; readonly body: Uint8Array }[] = [];
  readonly seen: Held[] = [];
  readonly leaving: Held[] = [];
}

type Made = Omit<ReturnType<typeof captureOf>, 'answerBytes'>;

/** Nothing new is learnt of it: the same versions have said the same. */
function isSameAnswer({ record: { edge, cloud, loss } }: Held, made: Made): boolean {
  return (
    edge.model?.digest === made.edge.model?.digest &&
    cloud.model.digest === made.cloud.model.digest &&
    edge.label === made.edge.label &&
    cloud.label === made.cloud.label &&
    loss === made.loss
  );
}
