/** The table of what loads a model of each task: a file of this folder each, read where a model needs it. */
import type { TaskName } from '../../tasks/tasks.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';

/** Loads a model, whole and warmed up. @throws MODEL_INVALID */
type Loader = (source: ModelSource) => Promise<TaskModel<unknown>>;

/** The loader of each task. */
export const LOADERS: Readonly<Record<TaskName, () => Promise<Loader>>> = {
  'image-classification': async () => (await import('./image-classification.ts')).loadImageClassification,
  'object-detection': async () => (await import('./object-detection.ts')).loadObjectDetection,
  'text-classification': async () => (await import('./text-classification.ts')).loadTextClassification,
  'token-classification': async () => (await import('./token-classification.ts')).loadTokenClassification,
  'question-answering': async () => (await import('./question-answering.ts')).loadQuestionAnswering,
  'zero-shot-classification': async () =>
    (await import('./zero-shot-classification.ts')).loadZeroShotClassification,
  'feature-extraction': async () => (await import('./feature-extraction.ts')).loadFeatureExtraction,
  'fill-mask': async () => (await import('./fill-mask.ts')).loadFillMask,
  tensor: async () => (await import('./tensor.ts')).loadTensor,
  translation: async () => (await import('./translation.ts')).loadTranslation,
  summarization: async () => (await import('./summarization.ts')).loadSummarization,
  'text-generation': async () => (await import('./text-generation.ts')).loadTextGeneration,
  'automatic-speech-recognition': async () =>
    (await import('./automatic-speech-recognition.ts')).loadSpeechRecognition,
  'image-to-text': async () => (await import('./image-to-text.ts')).loadImageToText,
  'time-series-classification': async () =>
    (await import('./time-series-classification.ts')).loadTimeSeriesClassification,
  'text-ranking': async () => (await import('./text-ranking.ts')).loadTextRanking,
  'sentence-similarity': async () => (await import('./sentence-similarity.ts')).loadSentenceSimilarity,
  'image-feature-extraction': async () =>
    (await import('./image-feature-extraction.ts')).loadImageFeatureExtraction,
  'image-segmentation': async () => (await import('./image-segmentation.ts')).loadImageSegmentation,
  'depth-estimation': async () => (await import('./depth-estimation.ts')).loadDepthEstimation,
  'audio-classification': async () => (await import('./audio-classification.ts')).loadAudioClassification,
  'zero-shot-image-classification': async () =>
    (await import('./zero-shot-image-classification.ts')).loadZeroShotImageClassification,
};
