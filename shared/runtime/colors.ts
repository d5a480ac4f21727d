/** Colours on a terminal only: files, pipes and CI logs get plain text (picocolors alone would colour under CI). */
import pc from 'picocolors';

/** Painter of terminal text, by colour. */
export const colors = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);
