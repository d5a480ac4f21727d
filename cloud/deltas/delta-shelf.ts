/** The deltas that this hub has made, on disk by their digest, with a record of each pair; what was asked for longest ago makes room. */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DELTA_KINDS, type DeltaKind, deltaKind } from '../../shared/contract/deltas.ts';
import { digest } from '../../shared/contract/names.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import type { Delta } from '../../shared/release/release.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';

/** Two files, by SHA-256, and what whoever takes the delta between them can read. */
export interface FilePair {
  readonly base: string;
  readonly result: string;
  /** It may be of this kind; undefined: every agent has to be able to read it. */
  readonly kind?: DeltaKind | undefined;
}

/** Also bounds what is listed: each has half a kilobyte of the signed targets, which may have 5 MB. */
const MAX_PAIRS = 2_000;

const pairRecord = z.object({
  base: digest,
  result: digest,
  /** What it may be of, at most. */
  kind: deltaKind.optional(),
  resultBytes: z.int().nonnegative(),
  /** null: it was tried, and is not worth it. Its kind is what it is of; one that every agent can read has none. */
  made: z.object({ sha256: digest, bytes: z.int().nonnegative(), kind: deltaKind.optional() }).nullable(),
  usedAtMs: z.number(),
});
type PairRecord = z.infer<typeof pairRecord>;
const SCHEMA = 2;
/** Records of schema 1 do not say of which kind their deltas are: those are made again. */
const indexFile = z.object({ schema: z.literal([1, SCHEMA]), pairs: z.array(pairRecord) });

/** Place of the deltas, and how much they may take. */
export interface DeltaShelfOptions {
  readonly folder: string;
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

const keyOf = ({ base, result, kind }: FilePair): string => `${base}-${result}-${kind ?? ''}`;

/** Deltas on disk, by pair. */
export class DeltaShelf {
  readonly #o: DeltaShelfOptions;
  readonly #blobs: BlobStore;
  readonly #pairs: Map<string, PairRecord>;

  private constructor(options: DeltaShelfOptions, pairs: readonly PairRecord[]) {
    this.#o = options;
    this.#blobs = new BlobStore(options.folder);
    this.#pairs = new Map(pairs.map((pair) => [keyOf(pair), pair]));
  }

  /** A record that cannot be read is begun anew: deltas can be made again. */
  static async open(options: DeltaShelfOptions): Promise<DeltaShelf> {
    await makeFolder(options.folder);
    const stored = await readJson(join(options.folder, 'index.json'), indexFile).catch((error: unknown) => {
      options.logger.failure('deltas.index_unreadable', error);
      return undefined;
    });
    const shelf = new DeltaShelf(options, stored?.schema === SCHEMA ? stored.pairs : []);
    for (const [key, { made }] of shelf.#pairs)
      if (made && (await shelf.#blobs.size(made.sha256)) !== made.bytes) shelf.#pairs.delete(key);
    await rm(shelf.stagePath, { force: true });
    await shelf.#blobs.sweep(shelf.#digests());
    return shelf;
  }

  /** Where the next one is written before it is taken in. */
  get stagePath(): string {
    return join(this.#o.folder, 'making.tmp');
  }

  /** Of all that are there. */
  get bytes(): number {
    return [...this.#pairs.values()].reduce((sum, { made }) => sum + (made?.bytes ?? 0), 0);
  }

  /** Whether it has been made, or found not to be worth it. */
  knows({ base, result, kind }: FilePair): boolean {
    if (this.#pairs.has(keyOf({ base, result, kind }))) return true;
    // What might have been of a kind, and is of none, everybody can read.
    return DELTA_KINDS.some((one) => {
      const made = this.#pairs.get(keyOf({ base, result, kind: one }))?.made;
      return kind === undefined && made && made.kind === undefined;
    });
  }

  all(): Delta[] {
    return [...this.#pairs.values()].flatMap(({ base, result, resultBytes, made }) =>
      made ? { base, result, resultBytes, ...made } : [],
    );
  }

  /** Of its content; undefined where it is none. */
  sizeOf(sha256: string): number | undefined {
    return this.all().find((one) => one.sha256 === sha256)?.bytes;
  }

  /** Where the content of a delta lies; undefined where it is none. Whoever asks is about to read it. */
  pathOf(sha256: string): string | undefined {
    for (const [key, pair] of this.#pairs) {
      if (pair.made?.sha256 !== sha256) continue;
      this.#pairs.set(key, { ...pair, usedAtMs: this.#o.clock.nowAtMs() });
      return this.#blobs.path(sha256);
    }
    return undefined;
  }

  /** Takes in what lies at `stagePath`. @throws DISK_FULL */
  async put(pair: FilePair, { resultBytes, kind }: Pick<Delta, 'resultBytes' | 'kind'>): Promise<void> {
    const { size } = await stat(this.stagePath);
    const sha256 = await fileSha256(this.stagePath);
    await this.#blobs.takeIn(sha256, this.stagePath);
    await rm(this.stagePath, { force: true });
    const made = kind === undefined ? { sha256, bytes: size } : { sha256, bytes: size, kind };
    await this.#record(pair, { resultBytes, made });
  }

  /** It was tried, and is not worth it. */
  async putNone(pair: FilePair): Promise<void> {
    await rm(this.stagePath, { force: true });
    await this.#record(pair, { resultBytes: 0, made: null });
  }

  /** Drops those of which a file is gone. @param isThere whether this hub has a version with the file @returns whether any was */
  async dropLost(isThere: (sha256: string) => boolean): Promise<boolean> {
    let isChanged = false;
    for (const [key, { base, result }] of this.#pairs) {
      if (isThere(base) && isThere(result)) continue;
      this.#pairs.delete(key);
      isChanged = true;
    }
    if (isChanged) await this.#store();
    return isChanged;
  }

  /** Removes the content of deltas that are not on record any more: after they have been taken off the list. */
  async sweep(): Promise<void> {
    await this.#blobs.sweep(this.#digests());
  }

  async #record(pair: FilePair, facts: Pick<PairRecord, 'resultBytes' | 'made'>): Promise<void> {
    this.#pairs.set(keyOf(pair), { ...pair, ...facts, usedAtMs: this.#o.clock.nowAtMs() });
    const oldestFirst = [...this.#pairs].sort(([, a], [, b]) => a.usedAtMs - b.usedAtMs);
    for (const [key] of oldestFirst) {
      if (this.bytes <= this.#o.maxBytes && this.#pairs.size <= MAX_PAIRS) break;
      this.#pairs.delete(key);
    }
    await this.#store();
  }

  #digests(): Set<string> {
    return new Set(this.all().map(({ sha256 }) => sha256));
  }

  #store(): Promise<void> {
    return writeJsonAtomic(join(this.#o.folder, 'index.json'), {
      schema: SCHEMA,
      pairs: [...this.#pairs.values()],
    });
  }
}
