/**
 * How much memory the loaded models hold: measured at their processes, and before there is one estimated by the size of their files. The
 * budget is kept by ending idle runners (`runner-pool.ts`); a single one that grows past all bounds is ended by its guard.
 */
import type { ModelRef } from '../../shared/contract/names.ts';

/** A runner beside its model: Node, ONNX Runtime, decoders. measured: docs/decisions/0037 */
const RUNNER_BYTES = 90 * 1024 ** 2;
/** What a loaded model takes for each byte of its files: weights that are laid out anew, and room to work. */
const BYTES_PER_FILE_BYTE = 1.5;
/** Models whose memory is remembered after they have gone, the newest. */
const MAX_REMEMBERED = 256;

/** What a process of the pool holds. */
export interface Holding {
  readonly ref: ModelRef;
  /** Bytes of the model’s files; undefined: nobody has said. */
  readonly fileBytes: number | undefined;
  /** As measured last; undefined: not yet. */
  bytes: number | undefined;
}

/** Estimates and measurements of memory, by version. */
export class MemoryBudget {
  readonly maxBytes: number;
  readonly #measured = new Map<string, number>();

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** What a process holds, or will. */
  bytesOf({ ref, fileBytes, bytes }: Holding): number {
    return bytes ?? this.#measured.get(ref.digest) ?? estimatedBytes(fileBytes);
  }

  measured(holding: Holding, bytes: number): void {
    holding.bytes = bytes;
    this.#measured.delete(holding.ref.digest);
    this.#measured.set(holding.ref.digest, bytes);
    if (this.#measured.size > MAX_REMEMBERED) this.#measured.delete(this.#measured.keys().next().value ?? '');
  }

  totalOf(holdings: Iterable<Holding>): number {
    let sum = 0;
    for (const one of holdings) sum += this.bytesOf(one);
    return sum;
  }
}

const estimatedBytes = (fileBytes = 0): number => RUNNER_BYTES + BYTES_PER_FILE_BYTE * fileBytes;
