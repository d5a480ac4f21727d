/**
 * Our schemas against the official types of `@huggingface/tasks`: same names, same types. The compiler holds it: each difference has to
 * be listed here with its reason, and none may be listed that is not there.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type * as hf from '@huggingface/tasks';
import type { z } from 'zod';
import {
  type Recognized,
  type SpeechParameters,
  speechParameters,
} from '../../shared/tasks/automatic-speech-recognition/schema.ts';
import type { DepthEstimate } from '../../shared/tasks/depth-estimation/schema.ts';
import {
  type embedding,
  type FeatureParameters,
  featureParameters,
} from '../../shared/tasks/feature-extraction/schema.ts';
import {
  type FilledMask,
  type FillMaskParameters,
  fillMaskParameters,
} from '../../shared/tasks/fill-mask/schema.ts';
import type { GenerateParameters } from '../../shared/tasks/forms/generation.ts';
import {
  type Classification,
  type ClassificationParameters,
  classificationParameters,
} from '../../shared/tasks/forms/labels.ts';
import { type Segment, segmentationParameters } from '../../shared/tasks/image-segmentation/schema.ts';
import {
  type CaptionParameters,
  type captioned,
  captionParameters,
} from '../../shared/tasks/image-to-text/schema.ts';
import {
  type Detection,
  type DetectionParameters,
  detectionParameters,
} from '../../shared/tasks/object-detection/schema.ts';
import {
  type Question,
  type QuestionParameters,
  questionParameters,
  type Span,
} from '../../shared/tasks/question-answering/schema.ts';
import type { Comparison } from '../../shared/tasks/sentence-similarity/schema.ts';
import {
  type SummarizationParameters,
  summarizationParameters,
  type summarized,
} from '../../shared/tasks/summarization/schema.ts';
import {
  type Generated,
  type GeneratedToken,
  type TextGenerationParameters,
  textGenerationParameters,
} from '../../shared/tasks/text-generation/schema.ts';
import {
  type Entity,
  type TokenClassificationParameters,
  tokenClassificationParameters,
} from '../../shared/tasks/token-classification/schema.ts';
import {
  type TranslationParameters,
  type translated,
  translationParameters,
} from '../../shared/tasks/translation/schema.ts';
import {
  type ZeroShotParameters,
  zeroShotParameters,
} from '../../shared/tasks/zero-shot-classification/schema.ts';
import {
  type ZeroShotImageParameters,
  zeroShotImageParameters,
} from '../../shared/tasks/zero-shot-image-classification/schema.ts';

/** Without the index signature that every official type has. */
type Known<T> = { [K in keyof T as string extends K ? never : K]: T[K] };
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
/** Objects within are compared by themselves, below. */
type Plain<T> = T extends readonly (infer E)[] ? Plain<E>[] : T extends object ? Known<T> : T;
type Common<Ours, Official> = Extract<keyof Ours, keyof Known<Official>>;
type Differing<Ours, Official> = {
  [K in Common<Ours, Official>]: Same<
    Plain<NonNullable<Ours[K]>>,
    Plain<NonNullable<Known<Official>[K]>>
  > extends true
    ? never
    : K;
}[Common<Ours, Official>];
type Reasons<K> = [K] extends [never] ? Record<string, never> : Record<K & string, string>;

interface Differences<Ours, Official> {
  /** Official, and not taken or given here. */
  readonly missing: Reasons<Exclude<keyof Known<Official>, keyof Ours>>;
  /** Ours alone. */
  readonly added: Reasons<Exclude<keyof Ours, keyof Known<Official>>>;
  /** Of another type. */
  readonly differing: Reasons<Differing<Ours, Official>>;
}

const NONE = { missing: {}, added: {}, differing: {} } as const;
const EXOTIC =
  'a way to search that no model here needs; a parameter that is ignored in silence is a wrong answer';
const ONE_ANSWER = 'one answer a request';
const PENALTIES = 'transformers has it; the official type lists only a part';

const generation: Differences<GenerateParameters, hf.GenerationParameters> = {
  missing: {
    epsilon_cutoff: EXOTIC,
    eta_cutoff: EXOTIC,
    num_beam_groups: EXOTIC,
    penalty_alpha: EXOTIC,
    use_cache: 'it changes no answer',
  },
  added: { repetition_penalty: PENALTIES, no_repeat_ngram_size: PENALTIES, length_penalty: PENALTIES },
  differing: {},
};

const parameters = {
  'image-classification': NONE satisfies Differences<
    ClassificationParameters,
    hf.ImageClassificationParameters
  >,
  'object-detection': NONE satisfies Differences<DetectionParameters, hf.ObjectDetectionParameters>,
  'text-classification': NONE satisfies Differences<
    ClassificationParameters,
    hf.TextClassificationParameters
  >,
  'token-classification': NONE satisfies Differences<
    TokenClassificationParameters,
    hf.TokenClassificationParameters
  >,
  'question-answering': NONE satisfies Differences<QuestionParameters, hf.QuestionAnsweringParameters>,
  'zero-shot-classification': NONE satisfies Differences<
    ZeroShotParameters,
    hf.ZeroShotClassificationParameters
  >,
  'feature-extraction': {
    ...NONE,
    missing: { inputs: 'it stands beside the parameters, in the official type as in the request' },
  } satisfies Differences<FeatureParameters, hf.FeatureExtractionInput>,
  'zero-shot-image-classification': NONE satisfies Differences<
    ZeroShotImageParameters,
    hf.ZeroShotImageClassificationParameters
  >,
  'image-segmentation': {
    ...NONE,
    missing: {
      mask_threshold: 'of instances and panoptic segments, which are not done',
      overlap_mask_area_threshold: 'of instances and panoptic segments, which are not done',
      subtask: 'semantic segmentation alone',
      threshold: 'of instances and panoptic segments, which are not done',
    },
  } satisfies Differences<object, hf.ImageSegmentationParameters>,
  'audio-classification': NONE satisfies Differences<
    ClassificationParameters,
    hf.AudioClassificationParameters
  >,
  'fill-mask': NONE satisfies Differences<FillMaskParameters, hf.FillMaskParameters>,
  // Of generate_parameters the official type is any object; ours names what is heeded, and refuses the rest.
  translation: NONE satisfies Differences<
    TranslationParameters,
    NonNullable<hf.TranslationInput['parameters']>
  >,
  summarization: NONE satisfies Differences<SummarizationParameters, hf.SummarizationParameters>,
  'text-generation': {
    ...NONE,
    missing: {
      adapter_id: 'no adapters',
      best_of: ONE_ANSWER,
      decoder_input_details: 'log-probabilities of the prompt would cost a run of their own',
      grammar: 'no constrained decoding',
      watermark: 'no watermarks',
    },
    added: {
      chat: 'a chat’s template is the model’s own, and so is applied where the model runs',
      logit_bias: 'of OpenAI’s API',
      presence_penalty: 'of OpenAI’s API',
    },
  } satisfies Differences<TextGenerationParameters, hf.TextGenerationInputGenerateParameters>,
  'automatic-speech-recognition': {
    ...NONE,
    added: { language: 'Whisper’s own: transformers has it among what steers generation' },
    differing: { generation_parameters: 'see generation' },
  } satisfies Differences<SpeechParameters, hf.AutomaticSpeechRecognitionParameters>,
  'image-to-text': {
    ...NONE,
    differing: { generation_parameters: 'see generation' },
  } satisfies Differences<CaptionParameters, hf.ImageToTextParameters>,
};

const outputs = {
  'image-classification': NONE satisfies Differences<Classification, hf.ImageClassificationOutputElement>,
  'object-detection': NONE satisfies Differences<Detection, hf.ObjectDetectionOutputElement>,
  'text-classification': NONE satisfies Differences<Classification, hf.TextClassificationOutputElement>,
  'token-classification': NONE satisfies Differences<Entity, hf.TokenClassificationOutputElement>,
  'question-answering': NONE satisfies Differences<Span, hf.QuestionAnsweringOutputElement>,
  'image-segmentation': NONE satisfies Differences<Segment, hf.ImageSegmentationOutputElement>,
  'depth-estimation': {
    ...NONE,
    added: { min: 'what black means in the unit of the model', max: 'what white means' },
    differing: {
      depth: 'the official type says anything',
      predicted_depth: 'the official type says anything',
    },
  } satisfies Differences<DepthEstimate, hf.DepthEstimationOutput>,
  comparison: NONE satisfies Differences<Comparison, hf.SentenceSimilarityInputData>,
  'audio-classification': NONE satisfies Differences<Classification, hf.AudioClassificationOutputElement>,
  'zero-shot-image-classification': NONE satisfies Differences<
    Classification,
    hf.ZeroShotImageClassificationOutputElement
  >,
  question: NONE satisfies Differences<Question, hf.QuestionAnsweringInputData>,
  'zero-shot-classification': NONE satisfies Differences<
    Classification,
    hf.ZeroShotClassificationOutputElement
  >,
  'fill-mask': {
    ...NONE,
    missing: { tokenStr: 'a slip of the official generator: the field is token_str' },
  } satisfies Differences<FilledMask, hf.FillMaskOutputElement>,
  translation: NONE satisfies Differences<z.infer<typeof translated>, hf.TranslationOutput>,
  summarization: NONE satisfies Differences<z.infer<typeof summarized>, hf.SummarizationOutput>,
  'text-generation': {
    ...NONE,
    differing: { details: 'see details' },
  } satisfies Differences<Generated, hf.TextGenerationOutput>,
  details: {
    missing: { best_of_sequences: ONE_ANSWER },
    added: { input_length: 'the official stream has it with its last token' },
    differing: { prefill: 'a token of the prompt is described as one of the answer' },
  } satisfies Differences<NonNullable<Generated['details']>, hf.TextGenerationOutputDetails>,
  token: {
    ...NONE,
    added: { top_tokens: 'on its way from the model; faces put it where their protocol has it' },
  } satisfies Differences<GeneratedToken, hf.TextGenerationOutputToken>,
  'automatic-speech-recognition': {
    ...NONE,
    differing: { chunks: 'the last time stamp may have no end: null, as Python gives it' },
  } satisfies Differences<Recognized, hf.AutomaticSpeechRecognitionOutput>,
  'image-to-text': {
    ...NONE,
    missing: { generatedText: 'a slip of the official generator: the field is generated_text' },
  } satisfies Differences<z.infer<typeof captioned>, hf.ImageToTextOutput>,
};

/** Rows of numbers need no list. */
const areSame: Same<z.infer<typeof embedding>, hf.FeatureExtractionOutput> = true;

test('every difference from the official types has its reason', () => {
  assert.ok(areSame);
  for (const { missing, added, differing } of [
    generation,
    ...Object.values(parameters),
    ...Object.values(outputs),
  ])
    for (const reason of Object.values<string>({ ...missing, ...added, ...differing }))
      assert.ok(reason.length > 5);
});

test('official parameters that are not heeded are refused', () => {
  const schemas: Record<keyof typeof parameters, z.ZodType> = {
    'image-classification': classificationParameters,
    'object-detection': detectionParameters,
    'text-classification': classificationParameters,
    'token-classification': tokenClassificationParameters,
    'question-answering': questionParameters,
    'zero-shot-classification': zeroShotParameters,
    'feature-extraction': featureParameters,
    'zero-shot-image-classification': zeroShotImageParameters,
    'image-segmentation': segmentationParameters,
    'audio-classification': classificationParameters,
    'fill-mask': fillMaskParameters,
    translation: translationParameters,
    summarization: summarizationParameters,
    'text-generation': textGenerationParameters,
    'automatic-speech-recognition': speechParameters,
    'image-to-text': captionParameters,
  };
  for (const [task, { missing }] of Object.entries(parameters))
    for (const name of Object.keys(missing))
      assert.ok(
        !schemas[task as keyof typeof parameters].safeParse({ [name]: 1 }).success,
        `${task}: ${name}`,
      );
  for (const name of Object.keys(generation.missing))
    assert.ok(!speechParameters.safeParse({ generation_parameters: { [name]: 1 } }).success, name);
});
