/**
 * Small pictures of shared inputs, made in the runner that has just answered them: no serving process decodes a picture. It must
 * never slow an answer, so it makes one at a time and lets go of what comes meanwhile.
 */
import type { Shrinking } from '../../shared/inference/runner/runner.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { RunnerPool, SharedInput } from '../ports.ts';

/** Encoded again in any case: nothing of what a device has sent reaches a browser as it came. */
const THUMBNAIL: Shrinking = {
  resize: { kind: 'shortest', edgePx: 96 },
  kernel: 'linear',
  format: 'webp',
  quality: 60,
  always: true,
};
/** Larger ones take the runner too long. Devices send pictures at the size of the model unless told otherwise. */
const MAX_INPUT_BYTES = 1024 * 1024;
/** A picture of 96 px has 2 to 5 KB; a strip of 96 x 16,000 px is none. */
const MAX_THUMBNAIL_BYTES = 64 * 1024;

/** Runners from which one is borrowed to decode a picture. */
export interface ThumbnailMakerOptions {
  /** @throws as RunnerPool.lease */
  readonly lease: RunnerPool['lease'];
  readonly logger: Logger;
}

/** Makes one thumbnail at a time. */
export class ThumbnailMaker {
  readonly #o: ThumbnailMakerOptions;
  #isBusy = false;

  constructor(options: ThumbnailMakerOptions) {
    this.#o = options;
  }

  /** Returns at once. @param take gets image/webp, later or never */
  make(input: SharedInput, take: (thumbnail: Uint8Array) => void): void {
    if (this.#isBusy || input.body.length > MAX_INPUT_BYTES) return;
    this.#isBusy = true;
    this.#shrink(input)
      .then((thumbnail) => {
        if (thumbnail.length <= MAX_THUMBNAIL_BYTES) take(thumbnail);
      })
      .catch((error: unknown) =>
        this.#o.logger.failure('board.no_thumbnail', error, {
          deviceId: input.deviceId,
          requestId: input.requestId,
        }),
      )
      .finally(() => {
        this.#isBusy = false;
      });
  }

  async #shrink({ model, body }: SharedInput): Promise<Uint8Array> {
    const lease = await this.#o.lease(model);
    try {
      return await lease.shrink(body, THUMBNAIL);
    } finally {
      lease.giveBack();
    }
  }
}
