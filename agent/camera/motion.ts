/**
 * Whether anything has moved: greys of a coarse grid, against those of the last picture that was given out, so that what moves slowly is
 * seen too. Costs less than a millisecond a picture.
 */
import { readPpm } from '../../shared/inference/runner/ppm.ts';
import type { Clock } from '../../shared/runtime/clock.ts';

const GRID = { columns: 64, rows: 36 };
/** Pixels that a cell is told by, along each side. */
const SAMPLES = 4;
/** Greys, of 255: below are noise and the flicker of lamps. */
const CHANGED_GREYS = 18;

/** What a picture is: something has moved, nothing has, or nothing has and it is time for one all the same. */
export type Movement = 'moved' | 'still' | 'still-but-due';

/** Gate of one pipeline. */
export class MotionGate {
  readonly #threshold: number;
  readonly #everyMs: number | undefined;
  readonly #clock: Clock;
  #reference: Float32Array | undefined;
  #givenMonoMs = 0;

  /** @param options.threshold share of the picture, 0..1 @param options.everyMs undefined: a still picture is never due */
  constructor(options: {
    readonly threshold: number;
    readonly everyMs: number | undefined;
    readonly clock: Clock;
  }) {
    this.#threshold = options.threshold;
    this.#everyMs = options.everyMs;
    this.#clock = options.clock;
  }

  /** @param body a raw picture; of another kind nothing is known, and it counts as moved */
  look(body: Uint8Array): Movement {
    const greys = greysOf(body);
    const now = this.#clock.nowMonoMs();
    const hasMoved = !greys || !this.#reference || changedShare(greys, this.#reference) > this.#threshold;
    const isDue = this.#everyMs !== undefined && now - this.#givenMonoMs >= this.#everyMs;
    if (!hasMoved && !isDue) return 'still';
    this.#reference = greys;
    this.#givenMonoMs = now;
    return hasMoved ? 'moved' : 'still-but-due';
  }
}

/** f32[rows*columns] 0..255 */
function greysOf(body: Uint8Array): Float32Array | undefined {
  const ppm = readPpm(body);
  if (!ppm) return undefined;
  const { size, pixelsAt } = ppm;
  const { widthPx, heightPx } = size;
  const greys = new Float32Array(GRID.rows * GRID.columns);
  const [across, down] = [GRID.columns * SAMPLES, GRID.rows * SAMPLES];
  for (let line = 0; line < down; line++) {
    const rowAt = pixelsAt + Math.floor(((line + 0.5) * heightPx) / down) * widthPx * 3;
    const cellRow = Math.floor(line / SAMPLES) * GRID.columns;
    for (let column = 0; column < across; column++) {
      const at = rowAt + Math.floor(((column + 0.5) * widthPx) / across) * 3;
      // ITU-R BT.601
      const grey =
        0.299 * (body[at] as number) + 0.587 * (body[at + 1] as number) + 0.114 * (body[at + 2] as number);
      const cell = cellRow + Math.floor(column / SAMPLES);
      greys[cell] = (greys[cell] as number) + grey / (SAMPLES * SAMPLES);
    }
  }
  return greys;
}

function changedShare(greys: Float32Array, reference: Float32Array): number {
  let changed = 0;
  for (const [cell, grey] of greys.entries())
    if (Math.abs(grey - (reference[cell] as number)) > CHANGED_GREYS) changed++;
  return changed / greys.length;
}
