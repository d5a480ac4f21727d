/**
 * Which task a model of somebody else's is for, from what its exporter wrote down: the architecture in `config.json` (transformers'
 * class names), sentence-transformers' files, the card's `pipeline_tag`. Pure.
 */
import { z } from 'zod';
import { type TaskName, taskName } from '../../tasks/tasks.ts';

/** What a foreign `config.json` tells of the task. */
export const foreignConfig = z.looseObject({
  architectures: z.array(z.string()).nullish(),
  model_type: z.string().nullish(),
  is_encoder_decoder: z.boolean().nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
});
export type ForeignConfig = z.infer<typeof foreignConfig>;

export interface Hints {
  readonly config: ForeignConfig | undefined;
  /** Paths of the folder. */
  readonly files: ReadonlySet<string>;
  /** Of the card, README.md with its head. */
  readonly card: string | undefined;
}

export interface Guess {
  readonly task: TaskName;
  /** For people: what it was told from. */
  readonly from: string;
}

/** The longer endings first: `ForImageClassification` is no `ForClassification`. */
const BY_ENDING: readonly (readonly [RegExp, TaskName])[] = [
  [/For(ImageClassification|ImageClassificationWithTeacher)$/, 'image-classification'],
  [/For(ObjectDetection)$/, 'object-detection'],
  [/ForSequenceClassification$/, 'text-classification'],
  [/ForTokenClassification$/, 'token-classification'],
  [/ForQuestionAnswering$/, 'question-answering'],
  [/ForMaskedLM$/, 'fill-mask'],
  [/^(Whisper|Speech2Text|SpeechEncoderDecoder).*|ForCTC$/, 'automatic-speech-recognition'],
  [/^(VisionEncoderDecoder|Blip|Git|Pix2Struct)/, 'image-to-text'],
  [/^Marian|^M2M100|^NllbMoe|^MBart/, 'translation'],
  [/^Pegasus|^LED/, 'summarization'],
  [/(ForCausalLM|LMHeadModel)$/, 'text-generation'],
];
/** Of these either may be meant. */
const UNDECIDED = /^(T5|MT5|Bart|UMT5|LongT5|ProphetNet).*ForConditionalGeneration$/;
/** A bare encoder of texts: its vectors are what it gives. */
const BARE = /^(?!Vision|ViT|CLIP|Swin|ConvNext|Wav2Vec2|Whisper)[A-Za-z0-9]+Model$/;

/** Kinds of models that do one thing, where their exporter left the class out. */
const BY_TYPE: Readonly<Record<string, TaskName>> = {
  ...{ marian: 'translation', m2m_100: 'translation', pegasus: 'summarization' },
  ...{ whisper: 'automatic-speech-recognition', 'vision-encoder-decoder': 'image-to-text' },
  ...{ gpt2: 'text-generation', llama: 'text-generation', mistral: 'text-generation' },
  ...{ qwen2: 'text-generation', qwen3: 'text-generation', phi3: 'text-generation' },
  ...{ gemma: 'text-generation', gemma2: 'text-generation', opt: 'text-generation' },
  ...{ gpt_neo: 'text-generation', gpt_neox: 'text-generation', bloom: 'text-generation' },
};

/** @returns undefined where nothing says it */
export function guessTask({ config, files, card }: Hints): Guess | undefined {
  if (files.has('modules.json') || files.has('1_Pooling/config.json'))
    return { task: 'feature-extraction', from: 'modules.json' };
  const tagged = taskOfCard(card);
  for (const name of config?.architectures ?? []) {
    const from = `“${name}” in config.json`;
    if (UNDECIDED.test(name)) return tagged;
    const found = BY_ENDING.find(([ending]) => ending.test(name));
    if (found) return refined({ task: found[1], from }, tagged);
    if (BARE.test(name)) return tagged ?? { task: 'feature-extraction', from };
  }
  if (tagged) return tagged;
  const type = config?.model_type ?? '';
  const task = (config?.architectures ?? []).length === 0 ? BY_TYPE[type] : undefined;
  return task && { task, from: `model_type “${type}” in config.json` };
}

/** An NLI model may be meant for zero-shot classification, which only its card can say. */
const refined = (guess: Guess, tagged: Guess | undefined): Guess =>
  guess.task === 'text-classification' && tagged?.task === 'zero-shot-classification' ? tagged : guess;

/** `pipeline_tag` in the YAML head of a card, which is one line: no need to read the rest. */
function taskOfCard(card: string | undefined): Guess | undefined {
  const head = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card ?? '')?.[1];
  const tag = /^pipeline_tag:\s*["']?([a-z0-9-]+)["']?\s*$/m.exec(head ?? '')?.[1];
  const task = taskName.safeParse(ALIASES[tag ?? ''] ?? tag);
  return task.success ? { task: task.data, from: 'pipeline_tag in README.md' } : undefined;
}

/** Names of the hub's that mean the same. */
const ALIASES: Readonly<Record<string, TaskName>> = { 'sentence-similarity': 'feature-extraction' };
