/** Answers of every task, for what must hold of all of them; the compiler asks for those of a new one. */
import fc from 'fast-check';
import { encodeGreyPng } from '../../../../shared/tasks/forms/grey-png.ts';
import type { TaskName } from '../../../../shared/tasks/tasks.ts';

interface Answers {
  /** One as a runner gives it. */
  readonly example: unknown;
  /** What a page says of the example (`shared/page/text.js`). */
  readonly line: string;
  /** Any that can be compared, as other systems have recorded some of them. */
  readonly arbitrary: fc.Arbitrary<unknown>;
}

const score = fc.double({ min: 0, max: 1, noNaN: true });
const edge = fc.double({ min: -1e9, max: 1e9, noNaN: true });
const box = fc.tuple(edge, edge, edge, edge).map(([x1, y1, x2, y2]) => ({
  xmin: Math.min(x1, x2),
  ymin: Math.min(y1, y2),
  xmax: Math.max(x1, x2),
  ymax: Math.max(y1, y2),
}));
const name = fc.constantFrom('a', 'b', 'c');
/** Of 2 x 2 px, a bit each. */
const maskOf = (bits: number): string =>
  encodeGreyPng({
    ...{ widthPx: 2, heightPx: 2 },
    pixels: Uint8Array.from({ length: 4 }, (_, at) => ((bits >> at) & 1) * 255),
  }).toString('base64');
export const ANSWERS: Readonly<Record<TaskName, Answers>> = {
  'image-classification': {
    example: [{ label: 'cat', score: 0.9 }],
    line: 'cat',
    arbitrary: fc.array(fc.record({ label: name, score }), { minLength: 1, maxLength: 5 }),
  },
  'object-detection': {
    example: [{ label: 'dog', score: 0.981, box: { xmin: 0, ymin: 0, xmax: 1, ymax: 1 } }],
    line: '1 box: dog 0.98',
    arbitrary: fc.array(fc.record({ label: name, score, box }), { maxLength: 6 }),
  },
  'text-classification': {
    example: [{ label: 'good', score: 0.9 }],
    line: 'good',
    arbitrary: fc.array(fc.record({ label: name, score }), { minLength: 1, maxLength: 5 }),
  },
  'time-series-classification': {
    example: [{ label: 'Walking', score: 0.9 }],
    line: 'Walking',
    arbitrary: fc.array(fc.record({ label: name, score }), { minLength: 1, maxLength: 5 }),
  },
  'token-classification': {
    example: [{ word: 'Ada', entity_group: 'PER', score: 1, start: 0, end: 3 }],
    line: 'Ada PER',
    arbitrary: fc.array(fc.record({ entity: name, score, word: name, start: fc.nat(9), end: fc.nat(9) }), {
      maxLength: 6,
    }),
  },
  'question-answering': {
    example: [{ answer: 'in 1815', score: 0.7, start: 0, end: 7 }],
    line: 'in 1815',
    arbitrary: fc.record({ answer: fc.string(), score }),
  },
  'zero-shot-classification': {
    example: [{ label: 'travel', score: 0.8 }],
    line: 'travel',
    arbitrary: fc.array(fc.record({ label: name, score }), { minLength: 1, maxLength: 5 }),
  },
  'feature-extraction': {
    example: [[1, 2, 3]],
    line: '1 × 3 numbers',
    arbitrary: fc.array(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }), {
      minLength: 1,
    }),
  },
  'fill-mask': {
    example: [{ token_str: ' film', token: 1, score: 0.5, sequence: 'a film' }],
    line: 'film',
    arbitrary: fc.array(fc.record({ token_str: fc.string(), score, token: fc.nat(), sequence: name }), {
      minLength: 1,
      maxLength: 5,
    }),
  },
  'text-ranking': {
    example: [
      { index: 2, score: 0.93 },
      { index: 0, score: 0.1 },
    ],
    line: 'text 3',
    arbitrary: fc.uniqueArray(fc.record({ index: fc.nat(9), score }), {
      minLength: 1,
      selector: ({ index }) => index,
    }),
  },
  'sentence-similarity': {
    example: [0.91, -0.2],
    line: '0.91, -0.20',
    arbitrary: fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 6 }),
  },
  'image-feature-extraction': {
    example: [[0.5, -1, 2]],
    line: '1 × 3 numbers',
    arbitrary: fc
      .array(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }), {
        minLength: 1,
      })
      .map((rows) => [rows]),
  },
  'image-segmentation': {
    example: [
      { label: 'sky', score: 0.9, mask: maskOf(0b0011) },
      { label: 'sea', score: 0.75, mask: maskOf(0b1100) },
    ],
    line: '2 masks: sky 0.90, sea 0.75',
    arbitrary: fc.array(
      fc.record({ label: name, score: fc.option(score), mask: fc.integer({ min: 0, max: 15 }).map(maskOf) }),
      { maxLength: 4 },
    ),
  },
  'audio-classification': {
    example: [{ label: 'siren', score: 0.7 }],
    line: 'siren',
    arbitrary: fc.array(fc.record({ label: name, score }), { minLength: 1, maxLength: 5 }),
  },
  'depth-estimation': {
    example: { depth: maskOf(0b0110), min: 0.5, max: 4.25 },
    line: 'depth from 0.50 to 4.25',
    arbitrary: fc.record({
      depth: fc.integer({ min: 0, max: 15 }).map(maskOf),
      min: fc.double({ min: -9, max: 0, noNaN: true }),
      max: fc.double({ min: 0, max: 9, noNaN: true }),
    }),
  },
  'zero-shot-image-classification': {
    example: [{ label: 'a cat', score: 0.8 }],
    line: 'a cat',
    arbitrary: fc.array(fc.record({ label: name, score }), { minLength: 1, maxLength: 5 }),
  },
  tensor: {
    example: [{ name: 'y', datatype: 'FP32', shape: [1, 2], data: [0.5, 1] }],
    line: 'y FP32[1,2]',
    arbitrary: fc.oneof(
      fc.array(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }))),
      fc.array(
        fc.record({
          name,
          datatype: fc.constant('FP32'),
          shape: fc.constant([2]),
          data: fc.array(fc.double({ noNaN: true, noDefaultInfinity: true })),
        }),
        { minLength: 1 },
      ),
    ),
  },
  translation: {
    example: { translation_text: 'Zwei Hunde.' },
    line: 'Zwei Hunde.',
    arbitrary: fc.record({ translation_text: fc.string() }),
  },
  summarization: {
    example: { summary_text: 'Short.' },
    line: 'Short.',
    arbitrary: fc.record({ summary_text: fc.string() }),
  },
  'text-generation': {
    example: { generated_text: 'and so on' },
    line: 'and so on',
    arbitrary: fc.record({ generated_text: fc.string() }),
  },
  'automatic-speech-recognition': {
    example: { text: 'hello' },
    line: 'hello',
    arbitrary: fc.record({ text: fc.string() }),
  },
  'image-to-text': {
    example: { generated_text: 'a dog' },
    line: 'a dog',
    arbitrary: fc.record({ generated_text: fc.string() }),
  },
};
