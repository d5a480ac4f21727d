/** The pictures that sinks show: the input from the shelf, or from the outbox for a late answer, encoded and marked by the runner. */
import { type Answer, isFailure } from '../../shared/contract/result.ts';
import type { PictureMarks, Shrinking } from '../../shared/inference/runner/runner.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { labelsIn } from '../../shared/tasks/labels-in.ts';
import type { LocalModel, Outbox, PictureOf, PictureWish } from '../ports.ts';
import { barePicture } from '../privacy/bare-picture.ts';
import type { Shelf } from '../sink/shelf.ts';

/** Where inputs are, and who encodes them. */
export interface PictureParts {
  /** undefined: no sink of the pipeline shows pictures. */
  readonly shelf: Shelf | undefined;
  readonly outbox: Pick<Outbox, 'read'>;
  readonly local: LocalModel;
  readonly logger: Logger;
}

const JPEG_QUALITY = 82;
const isJpeg = ([first, second]: Uint8Array): boolean => first === 0xff && second === 0xd8;

/** Makes pictures of a pipeline's Results; without a runner they are as they came, where they are JPEG. */
export function picturesOf({ shelf, outbox, local, logger }: PictureParts): PictureOf {
  return async (result, wish) => {
    if (isFailure(result)) return undefined;
    const { id, pipeline } = result;
    try {
      const input = shelf?.get(id) ?? (await outbox.read(id))?.request.input;
      if (!input) return undefined;
      const body = barePicture((await local.shrink(input, howOf(result, wish))).body);
      return isJpeg(body) && body.length <= wish.maxBytes ? body : undefined;
    } catch (error) {
      // The Result goes on without it.
      logger.failure('sink.no_picture', error, { pipeline, requestId: id });
      return undefined;
    }
  };
}

function howOf(answer: Answer, { longestPx, annotate }: PictureWish): Shrinking {
  return {
    resize: { kind: 'inside', longestPx },
    kernel: 'lanczos3',
    format: 'jpeg',
    quality: JPEG_QUALITY,
    always: true,
    ...(annotate && { marks: marksOf(answer) }),
  };
}

function marksOf({ task, output }: Answer): PictureMarks {
  const said = labelsIn(task, output).map(({ label, score, box }) => ({
    text: `${label} ${Math.round(score * 100)} %`,
    box,
  }));
  const boxes = said.flatMap(({ text, box }) => (box ? [{ text, box }] : []));
  return { boxes, caption: boxes.length === 0 ? (said[0]?.text ?? '') : '' };
}
