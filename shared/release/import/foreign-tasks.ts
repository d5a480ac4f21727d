/**
 * What the import of foreign models knows of each task: how it is recognised, which files it takes, what its graph must take and give.
 * It stands here rather than in the folders of the tasks: recognising is a choice among all of them, in an order, and neither agents
 * nor the wire need to know of it. Pure.
 */
import type { TaskName } from '../../tasks/tasks.ts';
import {
  depthMisfit,
  logitsMisfit,
  masksMisfit,
  pictureMisfit,
  rankingMisfit,
  type Signature,
  seriesMisfit,
  soundMisfit,
  spansMisfit,
  tensorsMisfit,
  textMisfit,
  towersMisfit,
} from './misfits.ts';

/** Task as the import of somebody else's model must know it. */
export interface ForeignTask {
  /** transformers' class names, as `config.json` lists them; null where no class means this task alone. */
  readonly classes: RegExp | null;
  /** Of `model_type`, models that do this one thing, where their exporter left the class out. */
  readonly types: readonly string[];
  /** Its graphs by the stems of their names: the first set of which all are there is taken. null: one graph, of whatever name. */
  readonly graphs: readonly (readonly string[])[] | null;
  /** Whether its graph's outputs have labels, which must be named somewhere. */
  readonly needsLabels: boolean;
  /** Files that say its tokens, one of which must be there; none where it has no tokens. */
  readonly tokenizerFiles: readonly string[];
  /**
   * What of a graph's signature does not fit, for people.
   *
   * @param labels how many the model has; undefined where it needs none
   */
  readonly misfit: (signature: Signature, labels: number | undefined) => string | undefined;
}

/** In its fast form, which our own text code reads. */
const TOKENIZER = ['tokenizer.json'] as const;
/** A decoder as Optimum writes it: merged, in two (the first step, and those with the cache of earlier ones), without a cache. */
const DECODERS = [
  ['decoder_model_merged'],
  ['decoder_model', 'decoder_with_past_model'],
  ['decoder_model'],
] as const;
const ENCODER_DECODER = DECODERS.map((decoder) => ['encoder_model', ...decoder]);

/** transformers' models that see and have no head. */
const VISION =
  /^(ViT|ViTMAE|ViTMSN|DeiT|Beit|Data2VecVision|Swin|Swinv2|ConvNext|ConvNextV2|ResNet|RegNet|MobileNetV[12]|MobileViT|MobileViTV2|EfficientNet|Dinov2|Dinov2WithRegisters|DINOv3ViT|DINOv3ConvNext|Hiera|IJepa|FocalNet|Cvt|Bit|Segformer|TimmWrapper|(CLIP|Siglip)Vision)Model(WithProjection)?$/;

/** The graphs of tasks that generate are those of a library that checks them itself. */
const checkedElsewhere = (): undefined => undefined;

/**
 * Tasks in the order in which classes are tried: `GitForCausalLM` writes captions, although its name ends as that of a model that goes
 * on.
 */
export const FOREIGN_TASKS: Readonly<Record<TaskName, ForeignTask>> = {
  'image-classification': {
    classes: /For(ImageClassification|ImageClassificationWithTeacher)$/,
    types: [],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: [],
    misfit: (signature, labels) => pictureMisfit(signature) ?? logitsMisfit(signature, 2, labels),
  },
  'object-detection': {
    classes: /For(ObjectDetection)$/,
    types: [],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: [],
    misfit: pictureMisfit,
  },
  'audio-classification': {
    classes:
      /ForAudioClassification$|^(Wav2Vec2|Wav2Vec2Conformer|Hubert|WavLM|UniSpeech|UniSpeechSat|Data2VecAudio|SEW|SEWD)ForSequenceClassification$/,
    types: ['audio-spectrogram-transformer'],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: [],
    misfit: (signature, labels) => soundMisfit(signature) ?? logitsMisfit(signature, 2, labels),
  },
  'depth-estimation': {
    classes: /ForDepthEstimation$/,
    types: ['depth_anything', 'glpn'],
    graphs: null,
    needsLabels: false,
    tokenizerFiles: [],
    misfit: (signature) => pictureMisfit(signature) ?? depthMisfit(signature),
  },
  'image-segmentation': {
    // Those of instances, too, so that they are refused for what they are.
    classes: /For(SemanticSegmentation|InstanceSegmentation|UniversalSegmentation|Segmentation)$/,
    types: ['segformer'],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: [],
    misfit: (signature, labels) => pictureMisfit(signature) ?? masksMisfit(signature, labels),
  },
  'text-classification': {
    classes: /ForSequenceClassification$/,
    types: [],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: TOKENIZER,
    misfit: (signature, labels) => textMisfit(signature) ?? logitsMisfit(signature, 2, labels),
  },
  'token-classification': {
    classes: /ForTokenClassification$/,
    types: [],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: TOKENIZER,
    misfit: (signature, labels) => textMisfit(signature) ?? logitsMisfit(signature, 3, labels),
  },
  'question-answering': {
    classes: /ForQuestionAnswering$/,
    types: [],
    graphs: null,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: (signature) => textMisfit(signature) ?? spansMisfit(signature),
  },
  'fill-mask': {
    classes: /ForMaskedLM$/,
    types: [],
    graphs: null,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: (signature) => textMisfit(signature) ?? logitsMisfit(signature, 3, undefined),
  },
  'time-series-classification': {
    classes: /^PatchTSTForClassification$|ForTimeSeriesClassification$/,
    types: [],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: [],
    misfit: (signature, labels) => seriesMisfit(signature) ?? logitsMisfit(signature, 2, labels),
  },
  'automatic-speech-recognition': {
    classes: /^(Whisper|Speech2Text|SpeechEncoderDecoder).*|ForCTC$/,
    // Those of CTC hear letters where they have a vocabulary, which is asked for.
    types: ['whisper', 'wav2vec2', 'hubert', 'wavlm', 'unispeech', 'data2vec-audio'],
    graphs: [...ENCODER_DECODER, ['model']],
    needsLabels: false,
    // CTC models have no fast form.
    tokenizerFiles: ['tokenizer.json', 'vocab.json'],
    misfit: checkedElsewhere,
  },
  'image-to-text': {
    classes: /^(VisionEncoderDecoder|Blip|Git|Pix2Struct)/,
    types: ['vision-encoder-decoder'],
    graphs: ENCODER_DECODER,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: checkedElsewhere,
  },
  translation: {
    classes: /^Marian|^M2M100|^NllbMoe|^MBart/,
    types: ['marian', 'm2m_100'],
    graphs: ENCODER_DECODER,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: checkedElsewhere,
  },
  summarization: {
    classes: /^Pegasus|^LED/,
    types: ['pegasus'],
    graphs: ENCODER_DECODER,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: checkedElsewhere,
  },
  'text-generation': {
    classes: /(ForCausalLM|LMHeadModel)$/,
    types: [
      ...['gpt2', 'llama', 'mistral', 'qwen2', 'qwen3', 'phi3', 'gemma', 'gemma2', 'opt'],
      ...['gpt_neo', 'gpt_neox', 'bloom'],
    ],
    graphs: [['model'], ...DECODERS],
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: checkedElsewhere,
  },
  'feature-extraction': {
    // sentence-transformers' files say it, or a class without a head (task-guess.ts).
    classes: null,
    types: [],
    graphs: null,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: textMisfit,
  },
  'zero-shot-classification': {
    // Models that compare two sentences: a class of `text-classification`, which only their card can say more of.
    classes: null,
    types: [],
    graphs: null,
    needsLabels: true,
    tokenizerFiles: TOKENIZER,
    misfit: (signature, labels) => textMisfit(signature) ?? logitsMisfit(signature, 2, labels),
  },
  'text-ranking': {
    // A class of `text-classification`: its card or sentence-transformers' settings say more (task-guess.ts).
    classes: null,
    types: [],
    graphs: null,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: (signature) => textMisfit(signature) ?? rankingMisfit(signature),
  },
  'sentence-similarity': {
    // What asks for embeddings can have similarities too, so that cards that name it mean `feature-extraction`.
    classes: null,
    types: [],
    graphs: null,
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: textMisfit,
  },
  'image-feature-extraction': {
    // Bare encoders of pictures.
    classes: VISION,
    types: [],
    graphs: [['vision_model'], ['model']],
    needsLabels: false,
    tokenizerFiles: [],
    misfit: pictureMisfit,
  },
  'zero-shot-image-classification': {
    classes: /^(CLIP|ChineseCLIP|AltCLIP|MetaClip2|Siglip)Model$/,
    types: ['clip', 'siglip', 'chinese_clip', 'altclip'],
    graphs: [['model'], ['text_model', 'vision_model']],
    needsLabels: false,
    tokenizerFiles: TOKENIZER,
    misfit: towersMisfit,
  },
  tensor: {
    classes: null,
    types: [],
    graphs: null,
    needsLabels: false,
    tokenizerFiles: [],
    misfit: tensorsMisfit,
  },
};
