/** Results as NDJSON in a file: one line each, rotated so that it cannot fill the disk. */
import type { Result } from '../../shared/contract/result.ts';
import { TurnedFile } from '../../shared/runtime/turned-file.ts';
import type { Kept, Sink } from '../ports.ts';

/** The file and its predecessor (`.1`) together hold at most twice this. */
const DEFAULT_MAX_BYTES = 32 * 1024 * 1024;

/** Sink that appends Results to a rotated NDJSON file. */
export class FileSink implements Sink {
  readonly name: string;
  readonly type = 'file';
  readonly #file: TurnedFile;

  constructor(options: { readonly path: string; readonly maxBytes?: number }) {
    const { path, maxBytes = DEFAULT_MAX_BYTES } = options;
    this.name = `file:${path}`;
    this.#file = new TurnedFile({ path, maxBytes });
  }

  /** @throws DISK_FULL */
  put(value: object): Promise<void> {
    return this.#file.append(Buffer.from(`${JSON.stringify(value)}\n`, 'utf8'));
  }

  /** Both files in the quota. */
  kept(kind: Kept['kind']): Kept {
    const file = this.#file;
    return { kind, path: file.path, look: () => file.look(), giveBack: () => file.giveBack() };
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Where the results go that a sink refused: kept for people. */
export const deadLetterTo =
  (file: FileSink) =>
  (sink: string, result: Result): Promise<void> =>
    file.put({ sink, result });
