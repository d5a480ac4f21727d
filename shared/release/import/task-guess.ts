/**
 * Which task a model of somebody else's is for, from what its exporter wrote down: the architecture in `config.json` (transformers'
 * class names), sentence-transformers' files, the card's `pipeline_tag`. Pure.
 */
import { z } from 'zod';
import { type TaskName, taskName } from '../../tasks/tasks.ts';
import { id2label } from '../folder/model-files.ts';
import { FOREIGN_TASKS, type ForeignTask } from './foreign-tasks.ts';
import { timmOf } from './timm.ts';

/** Part of a foreign `config.json` that tells of the task. */
export const foreignConfig = z.looseObject({
  architectures: z.array(z.string()).nullish(),
  model_type: z.string().nullish(),
  is_encoder_decoder: z.boolean().nullish(),
  id2label: id2label.nullish(),
  /** timm's; 0 where it gives features. */
  num_classes: z.int().nullish(),
  /** Settings of sentence-transformers' cross-encoders, and what they were called before. */
  sentence_transformers: z.looseObject({}).nullish(),
  sbert_ce_default_activation_function: z.string().nullish(),
});
export type ForeignConfig = z.infer<typeof foreignConfig>;

/** Files of a foreign folder from which its task can be told. */
export interface Hints {
  readonly config: ForeignConfig | undefined;
  /** Paths of the folder. */
  readonly files: ReadonlySet<string>;
  /** Of the card, README.md with its head. */
  readonly card: string | undefined;
}

/** Task that a foreign model seems to be for. */
export interface Guess {
  readonly task: TaskName;
  /** For people: what it was told from. */
  readonly from: string;
}

/** Of these either may be meant. */
const UNDECIDED = /^(T5|MT5|Bart|UMT5|LongT5|ProphetNet).*ForConditionalGeneration$/;
/** A bare encoder of texts: its vectors are what it gives. */
const BARE = /^(?!Vision|ViT|CLIP|Swin|ConvNext|Wav2Vec2|Whisper)[A-Za-z0-9]+Model$/;

/** @returns undefined where nothing says it */
export function guessTask({ config, files, card }: Hints): Guess | undefined {
  if (files.has('modules.json') || files.has('1_Pooling/config.json'))
    return { task: 'feature-extraction', from: 'modules.json' };
  const tagged = taskOfCard(card);
  for (const name of config?.architectures ?? []) {
    const from = `“${name}” in config.json`;
    if (UNDECIDED.test(name)) return tagged;
    const task = recognised(({ classes }) => classes?.test(name) === true);
    if (task) return refined({ task, from }, { tagged, config });
    if (BARE.test(name)) return tagged ?? { task: 'feature-extraction', from };
  }
  if (tagged) return tagged;
  const type = config?.model_type ?? '';
  if ((config?.architectures ?? []).length > 0) return undefined;
  if (timmOf(config))
    return {
      task: config?.num_classes === 0 ? 'image-feature-extraction' : 'image-classification',
      from: 'timm’s settings in config.json',
    };
  const task = recognised(({ types }) => types.includes(type));
  return task && { task, from: `model_type “${type}” in config.json` };
}

/** The first task of which it is so. */
const recognised = (is: (task: ForeignTask) => boolean): TaskName | undefined =>
  (Object.keys(FOREIGN_TASKS) as TaskName[]).find((task) => is(FOREIGN_TASKS[task]));

/** Tasks whose models have a class of `text-classification`, and which only their cards can say. */
const OF_PAIRS: ReadonlySet<TaskName> = new Set<TaskName>(['zero-shot-classification', 'text-ranking']);

/** What a class alone does not tell: an NLI model may be meant for zero-shot classification, a model of pairs for ranking. */
function refined(
  guess: Guess,
  { tagged, config }: { readonly tagged: Guess | undefined; readonly config: ForeignConfig | undefined },
): Guess {
  if (guess.task !== 'text-classification') return guess;
  if (tagged && OF_PAIRS.has(tagged.task)) return tagged;
  const isCrossEncoder = config?.sentence_transformers ?? config?.sbert_ce_default_activation_function;
  // Cross-encoders of NLI have three labels.
  const labels = Object.keys(config?.id2label ?? {}).length;
  return isCrossEncoder != null && labels <= 2
    ? { task: 'text-ranking', from: 'sentence-transformers’ settings in config.json' }
    : guess;
}

/** `pipeline_tag` in the YAML head of a card, which is one line: no need to read the rest. */
function taskOfCard(card: string | undefined): Guess | undefined {
  const head = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card ?? '')?.[1];
  const tag = /^pipeline_tag:\s*["']?([a-z0-9-]+)["']?\s*$/m.exec(head ?? '')?.[1];
  const task = taskName.safeParse(ALIASES[tag ?? ''] ?? tag);
  return task.success ? { task: task.data, from: 'pipeline_tag in README.md' } : undefined;
}

/** Names of the hub's that mean the same. */
const ALIASES: Readonly<Record<string, TaskName>> = { 'sentence-similarity': 'feature-extraction' };
