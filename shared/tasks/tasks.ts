/**
 * The table of tasks, by Hugging Face's names: a folder each, and a line here. What else must know each task (how a foreign model is
 * recognised, what loads it in a runner) is a table that the compiler holds complete.
 */
import { z } from 'zod';
import { audioClassificationJudge } from './audio-classification/judge.ts';
import { audioClassification } from './audio-classification/schema.ts';
import { speechRecognitionJudge } from './automatic-speech-recognition/judge.ts';
import { speechRecognition } from './automatic-speech-recognition/schema.ts';
import { depthEstimationJudge } from './depth-estimation/judge.ts';
import { depthEstimation } from './depth-estimation/schema.ts';
import { featureExtractionJudge } from './feature-extraction/judge.ts';
import { featureExtraction } from './feature-extraction/schema.ts';
import { fillMaskJudge } from './fill-mask/judge.ts';
import { fillMask } from './fill-mask/schema.ts';
import { imageClassificationJudge } from './image-classification/judge.ts';
import { imageClassification } from './image-classification/schema.ts';
import { imageFeatureExtractionJudge } from './image-feature-extraction/judge.ts';
import { imageFeatureExtraction } from './image-feature-extraction/schema.ts';
import { imageSegmentationJudge } from './image-segmentation/judge.ts';
import { imageSegmentation } from './image-segmentation/schema.ts';
import { imageToTextJudge } from './image-to-text/judge.ts';
import { imageToText } from './image-to-text/schema.ts';
import { topProbabilityOfLabels } from './judging/labels.ts';
import { MAX_AUDIO_BYTES, MAX_IMAGE_BYTES, MAX_TENSOR_BYTES, MAX_TEXT_BYTES } from './limits.ts';
import { objectDetectionJudge } from './object-detection/judge.ts';
import { objectDetection } from './object-detection/schema.ts';
import { questionAnsweringJudge } from './question-answering/judge.ts';
import { questionAnswering } from './question-answering/schema.ts';
import { sentenceSimilarityJudge } from './sentence-similarity/judge.ts';
import { sentenceSimilarity } from './sentence-similarity/schema.ts';
import { summarizationJudge } from './summarization/judge.ts';
import { summarization } from './summarization/schema.ts';
import type { InputKind, Judge, Task, TaskSchema } from './task.ts';
import { tensorJudge } from './tensor/judge.ts';
import { tensorTask } from './tensor/schema.ts';
import { textClassificationJudge } from './text-classification/judge.ts';
import { textClassification } from './text-classification/schema.ts';
import { textGenerationJudge } from './text-generation/judge.ts';
import { textGeneration } from './text-generation/schema.ts';
import { textRankingJudge } from './text-ranking/judge.ts';
import { textRanking } from './text-ranking/schema.ts';
import { timeSeriesClassificationJudge } from './time-series-classification/judge.ts';
import { timeSeriesClassification } from './time-series-classification/schema.ts';
import { tokenClassificationJudge } from './token-classification/judge.ts';
import { tokenClassification } from './token-classification/schema.ts';
import { translationJudge } from './translation/judge.ts';
import { translation } from './translation/schema.ts';
import { zeroShotClassificationJudge } from './zero-shot-classification/judge.ts';
import { zeroShotClassification } from './zero-shot-classification/schema.ts';
import { zeroShotImageClassificationJudge } from './zero-shot-image-classification/judge.ts';
import { zeroShotImageClassification } from './zero-shot-image-classification/schema.ts';

const task = (schema: TaskSchema, judge: Judge): Task => ({ ...schema, judge });

const table = {
  'image-classification': task(imageClassification, imageClassificationJudge),
  'object-detection': task(objectDetection, objectDetectionJudge),
  'text-classification': task(textClassification, textClassificationJudge),
  'token-classification': task(tokenClassification, tokenClassificationJudge),
  'question-answering': task(questionAnswering, questionAnsweringJudge),
  'zero-shot-classification': task(zeroShotClassification, zeroShotClassificationJudge),
  'feature-extraction': task(featureExtraction, featureExtractionJudge),
  'fill-mask': task(fillMask, fillMaskJudge),
  tensor: task(tensorTask, tensorJudge),
  translation: task(translation, translationJudge),
  summarization: task(summarization, summarizationJudge),
  'text-generation': task(textGeneration, textGenerationJudge),
  'automatic-speech-recognition': task(speechRecognition, speechRecognitionJudge),
  'image-to-text': task(imageToText, imageToTextJudge),
  'time-series-classification': task(timeSeriesClassification, timeSeriesClassificationJudge),
  'text-ranking': task(textRanking, textRankingJudge),
  'sentence-similarity': task(sentenceSimilarity, sentenceSimilarityJudge),
  'image-feature-extraction': task(imageFeatureExtraction, imageFeatureExtractionJudge),
  'image-segmentation': task(imageSegmentation, imageSegmentationJudge),
  'depth-estimation': task(depthEstimation, depthEstimationJudge),
  'audio-classification': task(audioClassification, audioClassificationJudge),
  'zero-shot-image-classification': task(zeroShotImageClassification, zeroShotImageClassificationJudge),
};

/** Hugging Face's name of a task. */
export type TaskName = keyof typeof table;
/** What is asked, by Hugging Face’s name. */
export const taskName = z.enum(Object.keys(table) as TaskName[]);
/** Input, parameters, output and judge of each task. */
export const TASKS: Readonly<Record<TaskName, Task>> = table;

/** Input of a task from feed to runner, and over the wire: encoded bytes, never tensors of a model's own. */
export interface TaskInput {
  /** `image/jpeg`, `text/plain; charset=utf-8`, …: advice; the body's first bytes decide. */
  readonly contentType: string;
  readonly body: Uint8Array;
  /** Already validated by the task's schema. */
  readonly parameters?: Readonly<Record<string, unknown>>;
}

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

/** The best label of an answer, as `classification` has it; null for an answer without one. */
export function topLabel(output: unknown): string | null {
  if (!Array.isArray(output)) return null;
  const best: unknown = output[0];
  const label = typeof best === 'object' && best !== null && 'label' in best ? best.label : null;
  return typeof label === 'string' ? label : null;
}

/** Probability 0..1 of the best label of a recorded answer; null where it has none (logits, other tasks, what cannot be read). */
export const topProbabilityOf = (name: TaskName, answer: unknown): number | null =>
  TASKS[name].ranks === null ? null : topProbabilityOfLabels(answer);
