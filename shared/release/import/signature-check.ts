/**
 * Whether a graph takes and gives what its task needs, told from its names, types and shapes: a reason to refuse that a user
 * understands, before minutes of loading end in an error of the runtime's. What passes is still tried in a runner. Pure.
 */

import { AppError } from '../../runtime/errors.ts';
import type { TaskName } from '../../tasks/tasks.ts';
import type { TensorSpec } from '../folder/model-spec.ts';

export interface Signature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** Names that the text tasks can feed. */
const TEXT_INPUTS = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'];
/** What no task of ours reads, and so must not be asked for. */
const PICTURE_EXTRA = ['pixel_mask'];

/**
 * @param labels how many the model has; undefined where it needs none
 * @returns what does not fit, for people
 */
function misfit(task: TaskName, signature: Signature, labels: number | undefined): string | undefined {
  switch (task) {
    case 'image-classification':
      return pictureMisfit(signature) ?? logitsMisfit(signature, 2, labels);
    case 'object-detection':
      return pictureMisfit(signature);
    case 'text-classification':
    case 'zero-shot-classification':
      return textMisfit(signature) ?? logitsMisfit(signature, 2, labels);
    case 'token-classification':
      return textMisfit(signature) ?? logitsMisfit(signature, 3, labels);
    case 'fill-mask':
      return textMisfit(signature) ?? logitsMisfit(signature, 3, undefined);
    case 'question-answering':
      return textMisfit(signature) ?? spansMisfit(signature);
    case 'feature-extraction':
      return textMisfit(signature);
    case 'tensor':
      return tensorsMisfit(signature);
    // Their graphs are those of a library that checks them itself.
    case 'translation':
    case 'summarization':
    case 'text-generation':
    case 'automatic-speech-recognition':
    case 'image-to-text':
      return undefined;
  }
}

/**
 * @param of.file for the message
 * @param of.labels how many the model has; undefined where it needs none
 * @throws MODEL_INVALID
 */
export function checkSignature(
  task: TaskName,
  signature: Signature,
  { file, labels }: { readonly file: string; readonly labels: number | undefined },
): void {
  const why = misfit(task, signature, labels);
  if (why !== undefined) throw new AppError('MODEL_INVALID', `${file} does not fit ${task}: ${why}`);
}

function pictureMisfit({ inputs }: Signature): string | undefined {
  const [picture, ...others] = inputs.filter(({ name }) => !PICTURE_EXTRA.includes(name));
  if (!picture || others.length > 0)
    return `it takes ${shown(inputs)}; a picture is one input float32[N,3,H,W]`;
  const { type, dims } = picture;
  if (type !== 'float32') return `its picture is ${type}, only float32 is fed`;
  if (dims.length === 4 && (dims[1] ?? 3) === 3) return undefined;
  const isLast = dims.length === 4 && dims[3] === 3;
  const why = isLast ? 'channels last; export it with channels first' : 'expected [N,3,H,W]';
  return `its picture is [${dims.map(dimText)}], ${why}`;
}

function textMisfit({ inputs }: Signature): string | undefined {
  const unknown = inputs.filter(({ name }) => !TEXT_INPUTS.includes(name));
  if (unknown.length > 0) return `it takes ${shown(unknown)}; ${TEXT_INPUTS.join(', ')} can be fed`;
  if (!inputs.some(({ name }) => name === 'input_ids')) return 'it takes no input_ids';
  const odd = inputs.find(({ type, dims }) => type !== 'int64' || dims.length !== 2);
  return odd && `it takes ${shown([odd])}; expected int64[N,L]`;
}

function logitsMisfit({ outputs }: Signature, rank: number, labels: number | undefined): string | undefined {
  const logits = outputs.find(({ name }) => name === 'logits') ?? outputs[0];
  if (!logits) return 'it has no output';
  // Some exporters leave shapes out.
  if (logits.dims.length === 0) return undefined;
  if (logits.dims.length !== rank) return `it gives ${shown([logits])}; expected ${rank} axes`;
  const classes = logits.dims.at(-1);
  const isOther = labels !== undefined && typeof classes === 'number' && classes !== labels;
  return isOther ? `it gives ${classes} numbers, and has ${labels} labels` : undefined;
}

function spansMisfit({ outputs }: Signature): string | undefined {
  const names = outputs.map(({ name }) => name);
  const hasBoth = names.includes('start_logits') && names.includes('end_logits');
  return hasBoth ? undefined : `it gives ${names.join(', ')}; expected start_logits and end_logits`;
}

function tensorsMisfit({ inputs, outputs }: Signature): string | undefined {
  const odd = [...inputs, ...outputs].find(({ type }) => !FEEDABLE.has(type));
  return odd && `${shown([odd])} is of a type that cannot be fed or read`;
}

const FEEDABLE = new Set([
  ...['bool', 'uint8', 'uint16', 'uint32', 'uint64', 'int8', 'int16', 'int32', 'int64'],
  ...['float16', 'float32', 'float64', 'string'],
]);

const dimText = (dim: number | null): string => (dim === null ? '?' : String(dim));

/** `images float32[1,3,416,416]`. */
export const shown = (tensors: readonly TensorSpec[]): string =>
  tensors.map(({ name, type, dims }) => `${name} ${type}[${dims.map(dimText)}]`).join(', ') || 'nothing';
