/** Disks as tests make them up. */
import type { Kept } from '../../agent/ports.ts';
import type { DiskStatus } from '../../shared/contract/disk-status.ts';

/** One with room enough. */
export const ROOMY: DiskStatus = {
  maxBytes: null,
  keepFreeBytes: 200e6,
  freeBytes: 5e9,
  usedBytes: 1_500,
  isFull: false,
  reason: null,
  kinds: [
    { kind: 'snapshots', bytes: 1_000, givenBackBytes: 250 },
    { kind: 'requests', bytes: 500, givenBackBytes: 0 },
  ],
};

/** Something that is kept, in pieces of so many bytes with the time of each; the oldest first. */
export class Pieces implements Kept {
  readonly kind: Kept['kind'];
  readonly path: string;
  readonly pieces: [atMs: number, bytes: number][];
  /** What is done when a piece goes. */
  onGone: (bytes: number) => void = () => undefined;

  constructor(kind: Kept['kind'], path: string, pieces: [atMs: number, bytes: number][]) {
    this.kind = kind;
    this.path = path;
    this.pieces = pieces;
  }

  async look() {
    const bytes = this.pieces.reduce((sum, [, one]) => sum + one, 0);
    return { bytes, oldestAtMs: this.pieces[0]?.[0] ?? null };
  }

  async giveBack(wanted: number) {
    let freed = 0;
    while (freed < wanted && this.pieces.length > 0) {
      const [, bytes] = this.pieces.shift() ?? [0, 0];
      freed += bytes;
      this.onGone(bytes);
    }
    return freed;
  }
}
