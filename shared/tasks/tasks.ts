/** Every task by Hugging Face's name: what it takes, its parameters and its output; one schema each (`task-schemas.ts`). */
import { z } from 'zod';
import { MAX_AUDIO_BYTES, MAX_IMAGE_BYTES, MAX_TENSOR_BYTES, MAX_TEXT_BYTES } from './limits.ts';
import {
  captioned,
  captionParameters,
  classification,
  classificationParameters,
  detection,
  detectionParameters,
  embedding,
  entity,
  featureParameters,
  filledMask,
  fillMaskParameters,
  generated,
  question,
  questionParameters,
  recognized,
  span,
  speechParameters,
  summarizationParameters,
  summarized,
  tensor,
  tensorParameters,
  textGenerationParameters,
  tokenClassificationParameters,
  translated,
  translationParameters,
  zeroShotParameters,
} from './task-schemas.ts';

export const taskName = z.enum([
  'image-classification',
  'object-detection',
  'text-classification',
  'token-classification',
  'question-answering',
  'zero-shot-classification',
  'feature-extraction',
  'fill-mask',
  'tensor',
  'translation',
  'summarization',
  'text-generation',
  'automatic-speech-recognition',
  'image-to-text',
]);
export type TaskName = z.infer<typeof taskName>;

/** What a request carries from feed to runner, and over the wire: encoded bytes, never tensors of a model's own. */
export interface TaskInput {
  /** `image/jpeg`, `text/plain; charset=utf-8`, …: advice; the body's first bytes decide. */
  readonly contentType: string;
  readonly body: Uint8Array;
  /** Already validated by the task's schema. */
  readonly parameters?: Readonly<Record<string, unknown>>;
}

/**
 * `image`, `audio`: an encoded file. `text`: UTF-8. `json`: a JSON document of the task's `inputs`. `tensors`: such a document, or
 * safetensors.
 */
export type InputKind = 'image' | 'audio' | 'text' | 'json' | 'tensors';

/** Largest body of each kind. */
export const MAX_INPUT_BYTES: Readonly<Record<InputKind, number>> = {
  image: MAX_IMAGE_BYTES,
  audio: MAX_AUDIO_BYTES,
  text: MAX_TEXT_BYTES,
  json: MAX_TEXT_BYTES,
  tensors: MAX_TENSOR_BYTES,
};

/** The content type of a body of each kind, where nobody said it better. */
export const CONTENT_TYPES: Readonly<Record<InputKind, string>> = {
  image: 'application/octet-stream',
  audio: 'application/octet-stream',
  text: 'text/plain; charset=utf-8',
  json: 'application/json',
  tensors: 'application/octet-stream',
};

export interface TaskContract {
  readonly inputKind: InputKind;
  /** Of a `json` body, and of `tensors` in JSON. */
  readonly inputs?: z.ZodType<unknown>;
  readonly parameters: z.ZodType<Record<string, unknown>>;
  /** Whether a request without parameters can't be answered. */
  readonly needsParameters?: true;
  readonly output: z.ZodType<unknown>;
  /** `hub`: its models run in the hub alone. */
  readonly runsOn: 'device' | 'hub';
}

/** Tensors in JSON: by name, or nested numbers for a model with one input. */
const tensorInputs = z.union([
  z.array(tensor).min(1).max(64),
  // Nested numbers are walked where the model's types are known: a schema would visit each pixel twice.
  z.array(z.unknown()).min(1),
]);

/** Input, parameters and output of each task. */
export const TASKS: Readonly<Record<TaskName, TaskContract>> = {
  'image-classification': {
    inputKind: 'image',
    parameters: classificationParameters,
    output: z.array(classification),
    runsOn: 'device',
  },
  'object-detection': {
    inputKind: 'image',
    parameters: detectionParameters,
    output: z.array(detection),
    runsOn: 'device',
  },
  'text-classification': {
    inputKind: 'text',
    parameters: classificationParameters,
    output: z.array(classification),
    runsOn: 'device',
  },
  'token-classification': {
    inputKind: 'text',
    parameters: tokenClassificationParameters,
    output: z.array(entity),
    runsOn: 'device',
  },
  'question-answering': {
    inputKind: 'json',
    inputs: question,
    parameters: questionParameters,
    output: z.array(span),
    runsOn: 'device',
  },
  'zero-shot-classification': {
    inputKind: 'text',
    parameters: zeroShotParameters,
    needsParameters: true,
    output: z.array(classification),
    runsOn: 'device',
  },
  'feature-extraction': {
    inputKind: 'text',
    parameters: featureParameters,
    output: embedding,
    runsOn: 'device',
  },
  'fill-mask': {
    inputKind: 'text',
    parameters: fillMaskParameters,
    output: z.array(filledMask),
    runsOn: 'device',
  },
  tensor: {
    inputKind: 'tensors',
    inputs: tensorInputs,
    parameters: tensorParameters,
    output: z.array(tensor),
    runsOn: 'device',
  },
  translation: { inputKind: 'text', parameters: translationParameters, output: translated, runsOn: 'hub' },
  summarization: {
    inputKind: 'text',
    parameters: summarizationParameters,
    output: summarized,
    runsOn: 'hub',
  },
  'text-generation': {
    inputKind: 'text',
    parameters: textGenerationParameters,
    output: generated,
    runsOn: 'hub',
  },
  'automatic-speech-recognition': {
    inputKind: 'audio',
    parameters: speechParameters,
    output: recognized,
    runsOn: 'hub',
  },
  'image-to-text': { inputKind: 'image', parameters: captionParameters, output: captioned, runsOn: 'hub' },
};

/** Answers with labels and scores, best first: the first is the answer. */
export const RANKED_TASKS: ReadonlySet<TaskName> = new Set([
  'image-classification',
  'text-classification',
  'zero-shot-classification',
]);

/** The best label of an answer, as `classification` has it; null for an answer without one. */
export function topLabel(output: unknown): string | null {
  if (!Array.isArray(output)) return null;
  const best: unknown = output[0];
  const label = typeof best === 'object' && best !== null && 'label' in best ? best.label : null;
  return typeof label === 'string' ? label : null;
}
