/**
 * Messages that nobody can work on, kept for people: inputs that ended the runner, frames that cannot be decoded. A few of each
 * kind, newest refused when full, so that a flood neither fills the disk nor pushes out what came first.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

/** Why a message was set aside. */
export type SetAsideKind = 'poisonous' | 'malformed';

/** Files of a kind: enough to see what goes wrong, at 64 MiB each at most. */
const MAX_FILES: Readonly<Record<SetAsideKind, number>> = { poisonous: 32, malformed: 32 };

/** The folder of messages that nobody could work on. */
export class SetAside {
  readonly #folder: string;
  readonly #logger: Logger;
  #work: Promise<void> = Promise.resolve();

  constructor(options: { readonly folder: string; readonly logger: Logger }) {
    this.#folder = options.folder;
    this.#logger = options.logger;
  }

  /** Writes the message as it came, off everybody's path. The device's id is the first part of the file's name. */
  put(kind: SetAsideKind, device: string, frame: Uint8Array): void {
    this.#work = this.#work
      .then(() => this.#write(kind, device, frame))
      .catch((error: unknown) => this.#logger.failure('intake.not_set_aside', error, { deviceId: device }));
  }

  /** Everything that was given to it is written. */
  async settled(): Promise<void> {
    await this.#work;
  }

  async #write(kind: SetAsideKind, device: string, frame: Uint8Array): Promise<void> {
    const folder = join(this.#folder, kind);
    const files = await readdir(folder).catch(() => []);
    if (files.length >= MAX_FILES[kind]) return;
    const path = join(folder, `${device}.${newId()}.frame`);
    await writeFileAtomic(path, frame, 0o600);
    this.#logger.warn('intake.set_aside', { deviceId: device, kind, bytes: frame.length, path });
  }
}
