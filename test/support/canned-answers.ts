/** Answers of the tasks of devices, for tests of how they are wrapped and read. */
import { encodeGreyPng } from '../../shared/tasks/forms/grey-png.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';

export const BOX = { label: 'dog', score: 0.9, box: { xmin: 1, ymin: 2, xmax: 3, ymax: 4 } };
export const ENTITY = { entity_group: 'PER', score: 0.99, word: 'Ada', start: 0, end: 3 };
export const SPAN = { answer: 'Ada', score: 0.8, start: 0, end: 3 };
export const FILLED = { score: 0.5, token: 7, token_str: 'film', sequence: 'a film' };
export const RANKED = [
  { label: 'good', score: 0.75 },
  { label: 'bad', score: 0.25 },
];

export const COSINES = [1, 0.6, -1];
export const RERANKED = [
  { index: 2, score: 0.9 },
  { index: 0, score: 0.2 },
];

/** Two pixels, one of them white. */
const MASK = encodeGreyPng({ widthPx: 2, heightPx: 1, pixels: Uint8Array.from([0, 255]) }).toString('base64');
export const SEGMENT = { label: 'sky', score: 0.9, mask: MASK };

/** An answer of its form for each task that devices run, and for text generation. */
export const CANNED_ANSWERS: Partial<Record<TaskName, unknown>> = {
  'image-classification': RANKED,
  'object-detection': [BOX],
  'text-classification': RANKED,
  'token-classification': [ENTITY],
  'question-answering': [SPAN],
  'zero-shot-classification': RANKED,
  'feature-extraction': [[1, 2, 3]],
  'fill-mask': [FILLED],
  'image-segmentation': [SEGMENT],
  'zero-shot-image-classification': RANKED,
  'audio-classification': RANKED,
  'image-feature-extraction': [[0.5, 1]],
  'depth-estimation': { depth: MASK, min: 0.5, max: 2 },
  'text-ranking': RERANKED,
  'sentence-similarity': COSINES,
  'text-generation': {
    generated_text: ' then',
    details: {
      finish_reason: 'stop_sequence',
      generated_tokens: 2,
      input_length: 3,
      prefill: [],
      tokens: [],
    },
  },
};
