/** The smallest inputs of each kind, two of each, as judges ask with them. Pure. */
import type { MadeInput } from '../task.ts';

/** 8 x 8 px, grey, and of all colours: the least that every picture model takes. */
const PICTURES = [
  'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAD0lEQVQI12NowAEYhpYEAILzYAGUMxmUAAAAAElFTkSuQmCC',
  'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAA00lEQVQI1wHIADf/AAAAACVbl0q2Lm8RxZRsXLnH894iigN9IQAo2LhNM09yjuaX6X28RBThn6sG+kIrVdkAULBwdQsHmmaev8E15BzMCXdjLtL6Uy2RAHiIKJ3jv8I+VueZ7Qz0hDFPG1aqsnsFSQCgYODFu3fqFg4PcaU0zDxZJ9N+gmqj3QEAyDiY7ZMvEu7GN0ldXKT0gf+Lploiy7W5APAQUBVr5zrGfl8hFYR8rKnXQ84y2vONcQAY6Ag9Q59injaH+c2sVGTRr/v2CpIbZSlGhV0hR7gT1AAAAABJRU5ErkJggg==',
].map((text) => Buffer.from(text, 'base64'));
const AUDIO_HZ = 16_000;

/** A word that every vocabulary has. */
export const smallestWord = (which: 0 | 1): string => (which === 0 ? 'a' : 'b');

/** A text of one word. */
export const smallestText = (which: 0 | 1): MadeInput => ({ body: Buffer.from(smallestWord(which)) });

/** A picture of 8 x 8 px. */
export const smallestPicture = (which: 0 | 1): MadeInput => ({ body: PICTURES[which] as Buffer });

/** A tenth of a second of silence, 16-bit PCM; there is but one. */
export function smallestSound(): MadeInput {
  const samples = Buffer.alloc((AUDIO_HZ / 10) * 2);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(AUDIO_HZ, 24);
  head.writeUInt32LE(AUDIO_HZ * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(samples.length, 40);
  return { body: Buffer.concat([head, samples]) };
}
