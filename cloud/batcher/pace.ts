/**
 * How large a batch is worth its while, learned from what batches of each shape have taken. Where a batch of two takes twice as long as
 * one (a processor, a graph of large products), a large batch answers nobody sooner and makes everybody else wait for it; where it takes
 * hardly longer (a GPU, short texts), it is most of the throughput. Told apart by measuring, not by the kind of machine.
 */

/** Sizes 1, 2..3, 4..7, …: the cost of one request in a batch of about that size. */
interface Cost {
  /** Of one request, moving average. */
  ms: number;
  /** Of a whole batch. */
  batchMs: number;
  runs: number;
}

interface Shape {
  readonly costs: Map<number, Cost>;
  batches: number;
}

/** Batches gain nothing where a request costs no more than this by itself: a second runner brings more. measured: docs/decisions/0037 */
const TOLERANCE = 1.2;
/**
 * Who comes now waits for those that are there, each at its cost in the batch, and for a batch of its own. Those that are there count so
 * often, as they keep others waiting, too: among few a small batch is as good, and where many wait nothing of the throughput is given
 * away. measured: docs/decisions/0037
 */
const CROWD = 4;
/** Of two sizes that differ by less the smaller one: that is what measuring is good for. */
const AS_GOOD = 1.05;
/** Of each size, before it is judged. */
const RUNS_TO_JUDGE = 3;
/** Every so many batches a neighbouring size is tried again: a machine’s other work changes. */
const RETRY_BATCHES = 24;
/** How much of the newest run goes into the average: more of a quick one, as what makes others slow is seldom the batch. */
const QUICK = 0.5;
const SLOW = 0.1;
/** Shapes that are remembered, the newest. */
const MAX_SHAPES = 64;

const stepOf = (size: number): number => 31 - Math.clz32(Math.max(1, size));

/** What batches of one model take. */
export class Pace {
  readonly #shapes = new Map<string, Shape>();
  /** Shapes of one batch only: many texts never meet another of their shape, and would push out those that do. */
  readonly #seenOnce = new Set<string>();
  #inferenceMs: number | undefined;

  /** A batch has run alone for so long. */
  observe(shapeKey: string, size: number, ms: number): void {
    if (!(ms > 0)) return;
    if (!this.#shapes.has(shapeKey) && !this.#seenOnce.delete(shapeKey)) {
      this.#seenOnce.add(shapeKey);
      if (this.#seenOnce.size > MAX_SHAPES) this.#seenOnce.delete([...this.#seenOnce][0] ?? '');
      return;
    }
    const shape = this.#shapes.get(shapeKey) ?? { costs: new Map<number, Cost>(), batches: 0 };
    this.#shapes.delete(shapeKey);
    this.#shapes.set(shapeKey, shape);
    if (this.#shapes.size > MAX_SHAPES) this.#shapes.delete(this.#shapes.keys().next().value ?? '');
    shape.batches += 1;
    const cost = shape.costs.get(stepOf(size));
    if (cost === undefined) shape.costs.set(stepOf(size), { ms: ms / size, batchMs: ms, runs: 1 });
    else {
      const weight = ms / size < cost.ms ? QUICK : SLOW;
      cost.ms += weight * (ms / size - cost.ms);
      cost.batchMs += weight * (ms - cost.batchMs);
      cost.runs += 1;
    }
  }

  /**
   * The batch by which everybody waits least; `max` where nothing is known.
   *
   * @param there requests that are not answered
   */
  sizeFor(shapeKey: string, max: number, there: number): number {
    const shape = this.#shapes.get(shapeKey);
    const top = stepOf(max);
    if (shape === undefined) return max;
    const judged = Array.from({ length: top + 1 }, (_, step) => {
      const cost = shape.costs.get(step);
      return cost !== undefined && cost.runs >= RUNS_TO_JUDGE ? cost.ms : undefined;
    });
    const largest = judged.findLastIndex((ms) => ms !== undefined);
    if (largest < 0) return max;
    const waits = judged.map((ms, at) => (ms ?? Number.POSITIVE_INFINITY) * (CROWD * there + 2 ** at));
    const best = waits.indexOf(Math.min(...waits));
    let step = waits.findIndex((wait) => wait <= (waits[best] ?? 0) * AS_GOOD);
    // A smaller one that nobody has tried may do as well; and where the largest so far is the best, a larger one may be better.
    if (step > 0 && judged[step - 1] === undefined) step -= 1;
    else if (step === largest) step += 1;
    step = Math.min(top, step);
    // The one that seems best, too: nothing else would show that it no longer is.
    if (shape.batches % RETRY_BATCHES === 0) step = Math.min(top, Math.max(best, step + 1));
    else if (shape.batches % RETRY_BATCHES === RETRY_BATCHES / 2) step = Math.max(0, step - 1);
    return step === top ? max : 2 ** step;
  }

  /** A request has run by itself for so long, decoding left out. */
  observeAlone(inferenceMs: number): void {
    this.#inferenceMs =
      this.#inferenceMs === undefined
        ? inferenceMs
        : this.#inferenceMs + SLOW * (inferenceMs - this.#inferenceMs);
  }

  /** Of one that runs by itself; undefined: not known yet. */
  get inferenceMs(): number | undefined {
    return this.#inferenceMs;
  }

  /** Whether no batch gains anything, of whatever shape. */
  gainsNothing(max: number): boolean {
    if (max === 1) return true;
    if (this.#shapes.size === 0) return false;
    for (const { costs } of this.#shapes.values()) {
      const one = costs.get(0);
      const two = costs.get(1);
      if (one === undefined || two === undefined) return false;
      if (one.runs < RUNS_TO_JUDGE || two.runs < RUNS_TO_JUDGE) return false;
      for (const { ms, runs } of costs.values())
        if (runs >= RUNS_TO_JUDGE && one.ms > ms * TOLERANCE) return false;
    }
    return true;
  }

  /** What a request of this shape costs in the best batch; undefined: not known yet. */
  eachMs(shapeKey: string): number | undefined {
    const shape = this.#shapes.get(shapeKey);
    return shape && Math.min(...Array.from(shape.costs.values(), ({ ms }) => ms));
  }

  /** How long a batch of about this size takes; undefined: not known yet. */
  batchMs(shapeKey: string, size: number): number | undefined {
    return this.#shapes.get(shapeKey)?.costs.get(stepOf(size))?.batchMs;
  }
}
