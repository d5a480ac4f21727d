/** Results as NDJSON in a file: one line each, rotated so that it cannot fill the disk. */
import type { Result } from '../../shared/contract/result.ts';
import { AppendFile } from '../../shared/runtime/append-file.ts';
import type { Sink } from '../ports.ts';

/** The file and its predecessor (`.1`) together hold at most twice this. */
const DEFAULT_MAX_BYTES = 32 * 1024 * 1024;

/** Sink that appends Results to a rotated NDJSON file. */
export class FileSink implements Sink {
  readonly name: string;
  readonly type = 'file';
  readonly #file: AppendFile;

  constructor(options: { readonly path: string; readonly maxBytes?: number }) {
    const { path, maxBytes = DEFAULT_MAX_BYTES } = options;
    this.name = `file:${path}`;
    this.#file = new AppendFile({ path, maxBytes });
  }

  /** @throws DISK_FULL */
  put(value: object): Promise<void> {
    return this.#file.append(Buffer.from(`${JSON.stringify(value)}\n`, 'utf8'));
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** File of the results that a sink refused, kept for people. */
export function deadLetterFile(path: string): (sink: string, result: Result) => Promise<void> {
  const file = new FileSink({ path });
  return (sink, result) => file.put({ sink, result });
}
