/**
 * Parameters and outputs of every task, in Hugging Face's names and shapes (huggingface.js `@huggingface/tasks`); `tasks.ts` is the
 * table of them. Unknown parameters are refused: one that is ignored in silence is a wrong answer. Lengths are in tokens.
 */
import { z } from 'zod';

/** A label with its probability 0..1 (its logit with `function_to_apply: none`). */
export const classification = z.object({ label: z.string(), score: z.number() });
export type Classification = z.infer<typeof classification>;

export const classificationParameters = z.strictObject({
  /** How many labels to answer with, best first. */
  top_k: z.int().min(1).max(10_000).optional(),
  /** How logits become scores; the model's own way when left out. */
  function_to_apply: z.enum(['softmax', 'sigmoid', 'none']).optional(),
});
export type ClassificationParameters = z.infer<typeof classificationParameters>;

/** Edges of a box, px of the picture as people see it (EXIF orientation applied), origin top left. */
const box = z
  .object({ xmin: z.number(), ymin: z.number(), xmax: z.number(), ymax: z.number() })
  .refine(({ xmin, ymin, xmax, ymax }) => xmin <= xmax && ymin <= ymax, 'its edges are the wrong way round');
export type Box = z.infer<typeof box>;

export const detection = z.object({ label: z.string(), score: z.number(), box });
export type Detection = z.infer<typeof detection>;

export const detectionParameters = z.strictObject({
  /** Least score 0..1 of a box; 0.5 when left out. */
  threshold: z.number().min(0).max(1).optional(),
});
export type DetectionParameters = z.infer<typeof detectionParameters>;

/** `start`, `end`: characters of the text (UTF-16, as JavaScript counts), end exclusive. */
export const entity = z.object({
  /** Without aggregation. */
  entity: z.string().optional(),
  /** With aggregation. */
  entity_group: z.string().optional(),
  /** Probability 0..1. */
  score: z.number(),
  word: z.string(),
  start: z.int(),
  end: z.int(),
});
export type Entity = z.infer<typeof entity>;

export const tokenClassificationParameters = z.strictObject({
  /** How tokens become entities; `simple` when left out. */
  aggregation_strategy: z.enum(['none', 'simple', 'first', 'average', 'max']).optional(),
  /** Labels to leave out; `O` when left out. */
  ignore_labels: z.array(z.string()).max(1_000).optional(),
  /** Tokens that neighbouring parts of a long text share; a long text is cut when left out. */
  stride: z.int().min(0).max(4_096).optional(),
});
export type TokenClassificationParameters = z.infer<typeof tokenClassificationParameters>;

export const question = z.object({ question: z.string().min(1), context: z.string().min(1) });
export type Question = z.infer<typeof question>;

/** A part of the context: `start`, `end` in characters of it (UTF-16), end exclusive; empty where it has no answer. */
export const span = z.object({ answer: z.string(), score: z.number(), start: z.int(), end: z.int() });
export type Span = z.infer<typeof span>;

export const questionParameters = z.strictObject({
  /** How many answers, best first; 1 when left out. */
  top_k: z.int().min(1).max(100).optional(),
  /** Tokens that neighbouring parts of a long context share; half a window, at most 128, when left out. */
  doc_stride: z.int().min(1).max(4_096).optional(),
  /** 15 when left out. */
  max_answer_len: z.int().min(1).max(1_000).optional(),
  /** Of question and part of the context together; 384 or what the model takes when left out. */
  max_seq_len: z.int().min(8).max(4_096).optional(),
  /** The question is cut to it; 64 when left out. */
  max_question_len: z.int().min(1).max(4_096).optional(),
  /** Whether "no answer" is an answer. */
  handle_impossible_answer: z.boolean().optional(),
  /** Whether an answer begins and ends with whole words; true when left out. */
  align_to_words: z.boolean().optional(),
});
export type QuestionParameters = z.infer<typeof questionParameters>;

export const zeroShotParameters = z.strictObject({
  candidate_labels: z.array(z.string().min(1).max(1_000)).min(1).max(100),
  /** With `{}` in the label's place; "This example is {}." when left out. */
  hypothesis_template: z.string().max(1_000).includes('{}').optional(),
  /** Each label by itself, instead of one of all. */
  multi_label: z.boolean().optional(),
});
export type ZeroShotParameters = z.infer<typeof zeroShotParameters>;

export const featureParameters = z.strictObject({
  /** To length 1; as the folder's modules.json says when left out. */
  normalize: z.boolean().optional(),
  /** Name of a prompt in the folder's config_sentence_transformers.json. */
  prompt_name: z.string().max(100).optional(),
  /** false: a text that is too long is refused instead of cut. */
  truncate: z.boolean().optional(),
  truncation_direction: z.enum(['left', 'right']).optional(),
});
export type FeatureParameters = z.infer<typeof featureParameters>;

/** One row a text, f32[D]. */
export const embedding = z.array(z.array(z.number()));

export const filledMask = z.object({
  score: z.number(),
  token: z.int(),
  token_str: z.string(),
  sequence: z.string(),
});
export type FilledMask = z.infer<typeof filledMask>;

export const fillMaskParameters = z.strictObject({
  /** 5 when left out. */
  top_k: z.int().min(1).max(10_000).optional(),
  /** Only these words are weighed up; one of several tokens counts by its first, as in transformers. */
  targets: z.array(z.string().min(1).max(100)).min(1).max(1_000).optional(),
});
export type FillMaskParameters = z.infer<typeof fillMaskParameters>;

/** The element types of the Open Inference Protocol that ONNX Runtime takes in JavaScript. */
export const tensorType = z.enum([
  'BOOL',
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'FP16',
  'FP32',
  'FP64',
  'BYTES',
]);
export type TensorType = z.infer<typeof tensorType>;

/** A tensor as the Open Inference Protocol writes it in JSON: `data` flat, in row-major order. */
export const tensor = z.object({
  name: z.string().min(1).max(255),
  datatype: tensorType,
  shape: z.array(z.int().min(0)).max(16),
  data: z.array(z.union([z.number(), z.boolean(), z.string()])),
});
export type Tensor = z.infer<typeof tensor>;

export const tensorParameters = z.strictObject({
  /** Names of the outputs to answer with; all when left out. */
  outputs: z.array(z.string().min(1).max(255)).min(1).max(64).optional(),
});
export type TensorParameters = z.infer<typeof tensorParameters>;

/** What steers generation, in transformers' names. */
const generation = {
  max_new_tokens: z.int().min(1).max(8_192).optional(),
  min_new_tokens: z.int().min(0).max(8_192).optional(),
  max_length: z.int().min(1).max(8_192).optional(),
  min_length: z.int().min(0).max(8_192).optional(),
  num_beams: z.int().min(1).max(16).optional(),
  do_sample: z.boolean().optional(),
  temperature: z.number().positive().max(100).optional(),
  top_k: z.int().min(0).max(100_000).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  repetition_penalty: z.number().positive().max(10).optional(),
  no_repeat_ngram_size: z.int().min(0).max(64).optional(),
};
const generateParameters = z.strictObject(generation);
export type GenerateParameters = z.infer<typeof generateParameters>;

const textToTextParameters = {
  clean_up_tokenization_spaces: z.boolean().optional(),
  truncation: z.enum(['do_not_truncate', 'longest_first', 'only_first', 'only_second']).optional(),
  generate_parameters: generateParameters.optional(),
};

export const translationParameters = z.strictObject({
  ...textToTextParameters,
  src_lang: z.string().max(32).optional(),
  tgt_lang: z.string().max(32).optional(),
});
export type TranslationParameters = z.infer<typeof translationParameters>;
export const translated = z.object({ translation_text: z.string() });

export const summarizationParameters = z.strictObject(textToTextParameters);
export type SummarizationParameters = z.infer<typeof summarizationParameters>;
export const summarized = z.object({ summary_text: z.string() });

export const textGenerationParameters = z.strictObject({
  max_new_tokens: generation.max_new_tokens,
  do_sample: generation.do_sample,
  temperature: generation.temperature,
  top_k: generation.top_k,
  top_p: generation.top_p,
  repetition_penalty: generation.repetition_penalty,
  /** Generation ends where one of these appears; it is part of the answer, as in TGI. */
  stop: z.array(z.string().min(1).max(256)).max(16).optional(),
  /** Of the random numbers, so that sampling can be repeated. */
  seed: z.int().min(0).optional(),
  /** The prompt is cut to so many tokens from its end. */
  truncate: z.int().min(1).max(100_000).optional(),
  /** Puts the prompt before the answer. */
  return_full_text: z.boolean().optional(),
  /** Answers with tokens, their log-probabilities and why it ended. */
  details: z.boolean().optional(),
});
export type TextGenerationParameters = z.infer<typeof textGenerationParameters>;

const finishReason = z.enum(['length', 'eos_token', 'stop_sequence']);
export type FinishReason = z.infer<typeof finishReason>;
export const generatedToken = z.object({
  id: z.int(),
  text: z.string(),
  logprob: z.number(),
  special: z.boolean(),
});
export type GeneratedToken = z.infer<typeof generatedToken>;
export const generated = z.object({
  generated_text: z.string(),
  details: z
    .object({
      finish_reason: finishReason,
      generated_tokens: z.int(),
      /** Tokens of the prompt. */
      input_length: z.int().optional(),
      prefill: z.array(generatedToken),
      tokens: z.array(generatedToken),
      seed: z.int().optional(),
    })
    .optional(),
});
export type Generated = z.infer<typeof generated>;

export const speechParameters = z.strictObject({
  return_timestamps: z.boolean().optional(),
  generation_parameters: generateParameters.optional(),
});
export type SpeechParameters = z.infer<typeof speechParameters>;
/** Timestamps in seconds; the last one may have no end. */
export const recognized = z.object({
  text: z.string(),
  chunks: z
    .array(z.object({ text: z.string(), timestamp: z.array(z.number().nullable()).length(2) }))
    .optional(),
});
export type Recognized = z.infer<typeof recognized>;

export const captionParameters = z.strictObject({
  max_new_tokens: generation.max_new_tokens,
  generation_parameters: generateParameters.optional(),
});
export type CaptionParameters = z.infer<typeof captionParameters>;
export const captioned = z.object({ generated_text: z.string() });
