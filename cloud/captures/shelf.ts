/**
 * The captures in memory: their order, which are nearly the same, and which goes first when there is no room. Lessons go by what they
 * teach, the least first; the sample goes by age, and only when it has more than its share: so that it stays unbiased.
 */
import { type Fingerprint, nearness } from './near.ts';
import type { Held } from './record.ts';

/** How much there may be. */
export interface ShelfLimits {
  readonly maxBytes: number;
  readonly maxCaptures: number;
}

/** Of all bytes, what the sample may keep against lessons. */
const SAMPLE_BYTES_SHARE = 0.3;
/** Steps of what a lesson teaches. */
const STEPS = 32;
/** Of one task of a pipeline; they are gone through for each input that comes. */
export type Place = Pick<Held['record'], 'pipeline' | 'task'>;

/** Captures by id, with what they take. */
export class Shelf {
  readonly #limits: ShelfLimits;
  /** Oldest first. */
  readonly #all = new Map<string, Held>();
  readonly #lessons: Set<Held>[] = Array.from({ length: STEPS }, () => new Set());
  readonly #sample = new Set<Held>();
  readonly #places = new Map<string, Set<Held>>();
  /** Uses of an input: captures of several versions may be of one. */
  readonly #inputs = new Map<string, number>();
  #bytes = 0;
  #lineBytes = 0;
  #sampleBytes = 0;

  constructor(limits: ShelfLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Of inputs and lines together. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Of lines alone. */
  get lineBytes(): number {
    return this.#lineBytes;
  }

  get(id: string): Held | undefined {
    return this.#all.get(id);
  }

  /** Oldest first. */
  all(): IterableIterator<Held> {
    return this.#all.values();
  }

  /** Whether a capture needs this input. */
  hasInput(sha256: string): boolean {
    return this.#inputs.has(sha256);
  }

  /** Bytes that a capture takes: an input that is there already costs nothing. */
  add(held: Held): void {
    const { id, input, isSample } = held.record;
    const uses = this.#inputs.get(input.sha256) ?? 0;
    this.#inputs.set(input.sha256, uses + 1);
    if (uses === 0) this.#bytes += input.bytes;
    this.#bytes += held.lineBytes;
    this.#lineBytes += held.lineBytes;
    this.#all.set(id, held);
    if (isSample) {
      this.#sample.add(held);
      this.#sampleBytes += input.bytes + held.lineBytes;
    } else this.#lessons[stepOf(held)]?.add(held);
    const place = keyOf(held.record);
    const there = this.#places.get(place) ?? new Set();
    this.#places.set(place, there.add(held));
  }

  /** @returns whether its input is of no use any more */
  remove(held: Held): boolean {
    const { id, input, isSample } = held.record;
    if (!this.#all.delete(id)) return false;
    this.#bytes -= held.lineBytes;
    this.#lineBytes -= held.lineBytes;
    if (isSample) {
      this.#sample.delete(held);
      this.#sampleBytes -= input.bytes + held.lineBytes;
    } else this.#lessons[stepOf(held)]?.delete(held);
    const place = keyOf(held.record);
    const there = this.#places.get(place);
    there?.delete(held);
    if (there?.size === 0) this.#places.delete(place);
    const uses = (this.#inputs.get(input.sha256) ?? 1) - 1;
    if (uses > 0) this.#inputs.set(input.sha256, uses);
    else {
      this.#inputs.delete(input.sha256);
      this.#bytes -= input.bytes;
    }
    return uses === 0;
  }

  /**
   * Those that have to go, the first that goes first; nothing has changed yet.
   *
   * @param newcomer who wants to come in, and may be among them
   */
  excess(newcomer?: Held): Held[] {
    const all = { bytes: this.#bytes, count: this.#all.size };
    const sample = { bytes: this.#sampleBytes, count: this.#sample.size };
    const change = (held: Held, sign: 1 | -1): void => {
      const { input, isSample } = held.record;
      const isSole = (this.#inputs.get(input.sha256) ?? 0) <= (held === newcomer ? 0 : 1);
      for (const sums of isSample ? [all, sample] : [all]) {
        sums.bytes += sign * (held.lineBytes + (isSole || sums === sample ? input.bytes : 0));
        sums.count += sign;
      }
    };
    if (newcomer) change(newcomer, 1);
    const [samples, lessons] = [this.#samplesFirst(newcomer), this.#lessonsFirst(newcomer)];
    const { maxBytes, maxCaptures } = this.#limits;
    const leaving: Held[] = [];
    while (all.bytes > maxBytes || all.count > maxCaptures) {
      const hasTooMuch =
        sample.bytes > SAMPLE_BYTES_SHARE * maxBytes || sample.count > SAMPLE_BYTES_SHARE * maxCaptures;
      const [first, second] = hasTooMuch ? [samples, lessons] : [lessons, samples];
      const next = nextOf(first) ?? nextOf(second);
      if (!next) break;
      change(next, -1);
      leaving.push(next);
    }
    return leaving;
  }

  /** Oldest first. */
  *#samplesFirst(newcomer: Held | undefined): Generator<Held> {
    yield* this.#sample;
    if (newcomer?.record.isSample) yield newcomer;
  }

  /** Those that teach least first, of these the oldest. */
  *#lessonsFirst(newcomer: Held | undefined): Generator<Held> {
    for (const [step, lessons] of this.#lessons.entries()) {
      yield* lessons;
      if (newcomer && !newcomer.record.isSample && stepOf(newcomer) === step) yield newcomer;
    }
  }

  /** The nearest of the same input, of one place. */
  nearest(place: Place, sha256: string, print: Fingerprint | undefined): Held | undefined {
    let [nearest, least] = [undefined as Held | undefined, Number.POSITIVE_INFINITY];
    // The newest of equally near ones: its answers are those of the versions of today.
    for (const held of this.#places.get(keyOf(place)) ?? []) {
      const isSame = held.record.input.sha256 === sha256;
      const far = isSame ? 0 : print && held.print && nearness(print, held.print, 'same');
      if (far !== undefined && far <= least) [nearest, least] = [held, far];
    }
    return nearest;
  }
}

function nextOf(held: Generator<Held>): Held | undefined {
  const next = held.next();
  return next.done ? undefined : next.value;
}

const stepOf = ({ worth }: Held): number => Math.min(STEPS - 1, Math.floor(worth * STEPS));
const keyOf = ({ pipeline, task }: Place): string => `${pipeline}/${task}`;
