/** What the disk itself takes for a record: the floor under everything that is on disk before it is said. */
import { open } from 'node:fs/promises';
import { timed } from './harness.ts';

/** Appends as the outbox does: write, then fdatasync. */
export class Disk {
  readonly #file: Awaited<ReturnType<typeof open>>;
  #bytes = 0;

  private constructor(file: Awaited<ReturnType<typeof open>>) {
    this.#file = file;
  }

  static async open(path: string): Promise<Disk> {
    return new Disk(await open(path, 'w'));
  }

  start(): void {}

  /** @returns milliseconds */
  async write(bytes: number): Promise<number> {
    const record = Buffer.alloc(bytes, this.#bytes % 251);
    const { ms } = await timed(async () => {
      await this.#file.write(record, 0, bytes, this.#bytes);
      await this.#file.datasync();
    });
    this.#bytes += bytes;
    return ms;
  }

  stop(): Promise<void> {
    return this.#file.close();
  }
}
