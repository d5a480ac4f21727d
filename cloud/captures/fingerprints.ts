/** Makes fingerprints of inputs; of pictures in the runner that has just answered one: no serving process decodes a picture. */
import type { Shrinking } from '../../shared/inference/runner/runner.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import type { RunnerPool, SharedInput } from '../ports.ts';
import { type Fingerprint, GREYS, pictureFingerprint, textFingerprint } from './near.ts';

/** Larger pictures take a runner too long: they are known by their digest alone. Devices send them at the size of the model. */
const MAX_PICTURE_BYTES = 4 * 1024 * 1024;
/** A picture that somebody asks about is looked at whatever its size. */
const SMALLEST: Shrinking = {
  resize: { kind: 'warp', ...GREYS },
  kernel: 'linear',
  format: 'grey',
  quality: 'lossless',
  always: true,
};

/** Runners from which one is borrowed. */
export interface FingerprintsOptions {
  /** @throws as RunnerPool.lease */
  readonly lease: RunnerPool['lease'];
  readonly logger: Logger;
}

/** Maker of fingerprints. */
export class Fingerprints {
  readonly #o: FingerprintsOptions;

  constructor(options: FingerprintsOptions) {
    this.#o = options;
  }

  /** @returns undefined where there is none: of sounds and tensors, and of a picture that nobody could decode just now */
  async of({ task, model, body, deviceId, requestId }: SharedInput): Promise<Fingerprint | undefined> {
    const { inputKind } = TASKS[task];
    if (inputKind === 'text' || inputKind === 'json')
      return textFingerprint(Buffer.from(body).toString('utf8'));
    if (inputKind !== 'image' || body.length > MAX_PICTURE_BYTES) return undefined;
    try {
      return await this.#ofPicture(model, body);
    } catch (error) {
      this.#o.logger.failure('captures.no_fingerprint', error, { deviceId, requestId });
      return undefined;
    }
  }

  /** Of what a person shows, whatever it is. @param models that can decode pictures, any of them */
  async ofAnything(body: Uint8Array, models: Iterable<string>): Promise<Fingerprint | undefined> {
    for (const model of models) {
      const print = await this.#ofPicture(model, body).catch(() => undefined);
      if (print) return print;
    }
    try {
      return textFingerprint(new TextDecoder('utf-8', { fatal: true }).decode(body));
    } catch {
      return undefined;
    }
  }

  async #ofPicture(model: string, body: Uint8Array): Promise<Fingerprint | undefined> {
    const lease = await this.#o.lease(model);
    try {
      return pictureFingerprint(await lease.shrink(body, SMALLEST));
    } finally {
      lease.giveBack();
    }
  }
}
