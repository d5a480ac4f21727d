/** The agent's own log with what was put aside of it (shared/runtime/logger.ts): the oldest can go, the one that is written to stays. */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kept } from '../ports.ts';

interface LogFile {
  readonly path: string;
  readonly bytes: number;
  readonly changedAtMs: number;
  readonly isOld: boolean;
}

/** By rotating-file-stream: time, number, name. */
const OLD = /^\d{8}-\d{4}-\d{2,}-agent\.log$/;
const CURRENT = 'agent.log';

/** Files of the agent's log; another program's in the same folder are not looked at. */
export class LogFiles implements Kept {
  readonly kind = 'logs';
  readonly path: string;

  constructor(folder: string) {
    this.path = folder;
  }

  async look(): Promise<{ bytes: number; oldestAtMs: number | null }> {
    const files = await this.#files();
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    return { bytes, oldestAtMs: files.find(({ isOld }) => isOld)?.changedAtMs ?? null };
  }

  async giveBack(bytes: number): Promise<number> {
    let freed = 0;
    for (const file of await this.#files()) {
      if (freed >= bytes) break;
      if (!file.isOld) continue;
      await rm(file.path, { force: true });
      freed += file.bytes;
    }
    return freed;
  }

  /** Oldest first: their names begin with their time. */
  async #files(): Promise<LogFile[]> {
    const names = await readdir(this.path).catch((): string[] => []);
    const found = names
      .filter((name) => OLD.test(name) || name === CURRENT)
      .sort()
      .map(async (name): Promise<LogFile[]> => {
        const path = join(this.path, name);
        const file = await stat(path).catch(() => undefined);
        return file ? [{ path, bytes: file.size, changedAtMs: file.mtimeMs, isOld: name !== CURRENT }] : [];
      });
    return (await Promise.all(found)).flat();
  }
}
