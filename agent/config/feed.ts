/** Where a pipeline's inputs come from: `feed` of `outrider.yaml`. */
import { z } from 'zod';
import { cameraFeed } from './camera.ts';
import { duration } from './quantities.ts';

/** Cameras and FTP servers write in bursts that are closer together. */
const DEFAULT_SETTLE_MS = 500;

const repeat = z.strictObject({
  /** Wait between two inputs from the second pass on. @example 2s */
  pace: duration,
});

/** Source of a pipeline’s inputs. */
export const feed = z.discriminatedUnion('type', [
  z.strictObject({
    /** Files of a folder, each when it is whole and again when it changes; lines of a text file; the pictures of a camera. @example folder */
    type: z.literal('folder'),
    /** Folder or file, beside the configuration unless absolute. @example ./pictures */
    path: z.string().min(1),
    /** Goes through all of it again and again; once, when left out. Of a camera’s file, `true`. @example { pace: 2s } */
    repeat: repeat.optional(),
    /** Folders below it, too; links to folders are not followed. @example true */
    recursive: z.boolean().default(false),
    /** A file that nobody has written to for so long is whole; one that is renamed into the folder is at once. @example 2s */
    settle: duration.default(DEFAULT_SETTLE_MS),
    /** What becomes of a file that has been answered; one that could not be answered stays. @example move */
    after: z.enum(['keep', 'move', 'delete']).default('keep'),
    /** Where to, with `after: move`. @example ./done */
    moveTo: z.string().min(1).optional(),
  }),
  z.strictObject({
    type: z.literal('text-lines'),
    path: z.string().min(1),
    repeat: repeat.optional(),
    /**
     * Goes on with lines as they are appended, also after a restart, and in a file that is truncated or replaced; not with `repeat`.
     *
     * @example true
     */
    follow: z.boolean().default(false),
  }),
  cameraFeed,
]);
