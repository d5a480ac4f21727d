/** How long the cloud's answers take now, from recent ones: whether one would come before the deadline. */

const KEPT = 32;
/** What is older says nothing about now: then it is tried again. */
const MAX_AGE_MS = 60_000;
/** Fewer are no evidence against the link. */
const MIN_KNOWN = 5;

/** Recent round-trip times of the cloud, bounded in number and in age. */
export class RoundTrips {
  readonly #known: { readonly ms: number; readonly atMonoMs: number }[] = [];

  add(ms: number, atMonoMs: number): void {
    this.#known.push({ ms, atMonoMs });
    if (this.#known.length > KEPT) this.#known.shift();
  }

  /** Whether at least half of the recent answers would have come in time. */
  isInTime(leftMs: number, nowMonoMs: number): boolean {
    const recent = this.#known.filter(({ atMonoMs }) => nowMonoMs - atMonoMs <= MAX_AGE_MS);
    if (recent.length < MIN_KNOWN) return true;
    return recent.filter(({ ms }) => ms <= leftMs).length * 2 >= recent.length;
  }
}
