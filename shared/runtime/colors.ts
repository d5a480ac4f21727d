/** Colours on a terminal only: files, pipes and CI logs get plain text (picocolors alone would colour under CI). */
import pc from 'picocolors';

export const colors = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);
