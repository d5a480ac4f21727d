/**
 * Whether the run before this one ended because somebody had asked for that. A marker lies on disk while the agent runs; one that is found
 * at a start is of a run that crashed, unless the machine has been started since: a power cut is nobody's fault.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { releaseVersion } from '../../shared/contract/releases.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

const marker = z.object({
  schema: z.literal(1),
  version: releaseVersion,
  /** Of the machine's start; empty where the system does not say. */
  boot: z.string(),
  ended: z.boolean(),
});

/** Where it lies, and what runs. */
export interface RunMarkerOptions {
  readonly folder: string;
  readonly version: string;
  readonly logger: Logger;
  /** Id of the machine's start. */
  readonly bootId?: () => Promise<string>;
}

/** Marker of a run of the agent. */
export class RunMarker implements Part {
  readonly #o: RunMarkerOptions;
  #crashes = 0;
  #boot = '';

  constructor(options: RunMarkerOptions) {
    this.#o = options;
  }

  /** 1 where the run before was of this version, and crashed. */
  get crashes(): number {
    return this.#crashes;
  }

  async start(): Promise<void> {
    const { version, logger, bootId = bootIdOfLinux } = this.#o;
    this.#boot = await bootId();
    const before = await readJson(this.#path, marker).catch(() => undefined);
    if (before && !before.ended && before.boot === this.#boot && before.version === version) {
      this.#crashes = 1;
      logger.warn('agent.crashed_before', { version });
    }
    await this.#write(false);
  }

  stop(): Promise<void> {
    return this.#write(true);
  }

  get #path(): string {
    return join(this.#o.folder, 'run.json');
  }

  /** A full disk keeps no agent from its work. */
  async #write(ended: boolean): Promise<void> {
    const { version, logger } = this.#o;
    await writeJsonAtomic(this.#path, { schema: 1, version, boot: this.#boot, ended }).catch(
      (error: unknown) => logger.failure('agent.run_not_marked', error),
    );
  }
}

const bootIdOfLinux = (): Promise<string> =>
  readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
