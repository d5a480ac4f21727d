/** The cheapest way to each file of a version: it is here, a chain of deltas makes it of what is here, or it comes whole. Pure. */
import type { VersionFile } from '../../shared/contract/admin.ts';
import type { Delta } from '../../shared/release/release.ts';

/** How a file comes. */
export interface FileRoute {
  readonly file: VersionFile;
  /** From what is here to the file, one after another; none: the whole file comes. */
  readonly deltas: readonly Delta[];
  /** What has still to come over the link, in bytes. */
  readonly wireBytes: number;
}

/** Facts of the device that count. */
export interface FetchFacts {
  /** Content that is here whole. */
  readonly has: (sha256: string) => boolean;
  /** What has come of a file or delta that is not here whole. */
  readonly partialBytes: (sha256: string) => number;
  /** Deltas that have failed. */
  readonly isRefused: (sha256: string) => boolean;
}

/** A longer chain costs more time and disk than its bytes are worth. */
const MAX_CHAIN = 6;

/** Ways to the files that are not here. */
export function planFetch(
  files: readonly VersionFile[],
  deltas: readonly Delta[],
  facts: FetchFacts,
): FileRoute[] {
  const usable = deltas.filter(({ sha256 }) => !facts.isRefused(sha256));
  const missing = new Map(
    files.filter(({ sha256 }) => !facts.has(sha256)).map((file) => [file.sha256, file]),
  );
  return [...missing.values()].map((file) => routeTo(file, usable, facts));
}

interface Way {
  /** Of the file that the deltas begin with. */
  readonly base: string;
  readonly deltas: readonly Delta[];
  readonly wireBytes: number;
}

/** Backwards from the file, the cheapest way first (Dijkstra 1959); no longer than it is cheaper than the file itself. */
function routeTo(file: VersionFile, deltas: readonly Delta[], facts: FetchFacts): FileRoute {
  const whole = { file, deltas: [], wireBytes: Math.max(0, file.bytes - facts.partialBytes(file.sha256)) };
  let ways: Way[] = [{ base: file.sha256, deltas: [], wireBytes: 0 }];
  const seen = new Set<string>();
  while (ways.length > 0) {
    const way = ways.reduce((best, one) => (one.wireBytes < best.wireBytes ? one : best));
    ways = ways.filter((one) => one !== way);
    if (way.wireBytes >= whole.wireBytes) return whole;
    if (facts.has(way.base)) return { file, deltas: way.deltas, wireBytes: way.wireBytes };
    if (seen.has(way.base) || way.deltas.length === MAX_CHAIN) continue;
    seen.add(way.base);
    for (const delta of deltas) {
      if (delta.result !== way.base || !isFor(delta, way, file)) continue;
      const cost = Math.max(0, delta.bytes - facts.partialBytes(delta.sha256));
      ways.push({
        base: delta.base,
        deltas: [delta, ...way.deltas],
        wireBytes: way.wireBytes + (facts.has(delta.sha256) ? 0 : cost),
      });
    }
  }
  return whole;
}

/** The last one makes a file of the signed length; those before it, whatever the one after is based on. */
const isFor = ({ resultBytes }: Delta, { deltas }: Way, { bytes }: VersionFile): boolean =>
  deltas.length > 0 || resultBytes === bytes;
