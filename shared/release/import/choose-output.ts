/** Which of a graph's outputs holds the answers, where its name does not tell: the only one that can, or what its owner says. Pure. */
import { AppError } from '../../runtime/errors.ts';
import type { TaskName } from '../../tasks/tasks.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { finishedOutputs } from '../folder/finished-outputs.ts';
import { type Signature, shown } from './misfits.ts';

/** Names that tell, and the axes that answers have. */
interface Head {
  readonly usual: readonly string[];
  readonly ranks: readonly number[];
}

const LABELS: Head = { usual: ['logits'], ranks: [2] };
const TOKENS: Head = { usual: ['logits'], ranks: [3] };
const SENTENCES: Head = { usual: ['last_hidden_state', 'sentence_embedding'], ranks: [2, 3] };
const HEADS: Partial<Readonly<Record<TaskName, Head>>> = {
  'image-classification': LABELS,
  'text-classification': LABELS,
  'zero-shot-classification': LABELS,
  'time-series-classification': LABELS,
  'text-ranking': LABELS,
  'audio-classification': LABELS,
  'token-classification': TOKENS,
  'fill-mask': TOKENS,
  'feature-extraction': SENTENCES,
  'sentence-similarity': SENTENCES,
  'image-feature-extraction': {
    usual: ['last_hidden_state', 'image_embeds', 'pooler_output'],
    ranks: [2, 3, 4],
  },
  'object-detection': { usual: ['logits'], ranks: [3] },
};

/**
 * @param of.said by its owner
 * @param of.labels how many the last axis has; undefined where it is none of the labels' number
 * @returns undefined where its name tells, or none can be it: then what is wrong with the first is said
 * @throws USAGE, MODEL_INVALID (several can be it)
 */
export function chooseOutput(
  task: TaskName,
  { outputs }: Signature,
  { said, labels }: { readonly said: string | undefined; readonly labels: number | undefined },
): TensorSpec | undefined {
  const head = HEADS[task];
  if (said !== undefined) {
    const found = outputs.find(({ name }) => name === said);
    if (found && head) return found;
    const why = head
      ? `the graph has no output ${said}; it gives ${shown(outputs)}`
      : `${task} has no use for it`;
    throw new AppError('USAGE', `--output: ${why}`);
  }
  if (!head || outputs.some(({ name }) => head.usual.includes(name))) return undefined;
  const isDetector = task === 'object-detection';
  if (isDetector && finishedOutputs(outputs)) return undefined;
  const able = outputs.filter((output) => isAble(output, head, isDetector ? undefined : labels));
  const [first, ...others] = able;
  const isAlike = isDetector
    ? others.some(({ dims }) => String(dims) === String(first?.dims))
    : others.length > 0;
  if (isAlike)
    throw new AppError(
      'MODEL_INVALID',
      `it gives ${shown(able)}: say with --output which of them holds the answers`,
    );
  return first === outputs[0] ? undefined : first;
}

function isAble({ type, dims }: TensorSpec, { ranks }: Head, labels: number | undefined): boolean {
  if (type !== 'float32' && type !== 'float16') return false;
  // Some exporters leave shapes out.
  if (dims.length === 0) return true;
  const last = dims.at(-1);
  return ranks.includes(dims.length) && (labels === undefined || typeof last !== 'number' || last === labels);
}
