/**
 * What a graph takes or gives that a task cannot feed or read, told from names, types and shapes, for people: a reason to refuse that
 * a user understands, before minutes of loading end in an error of the runtime's. What passes is still tried in a runner. Pure.
 */

import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { pictureLayout } from '../folder/picture-layout.ts';
import { seriesInputs } from '../folder/series-layout.ts';

/** The inputs and outputs of a graph. */
export interface Signature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** Names that the text tasks can feed. */
const TEXT_INPUTS = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'];
/** What no task of ours reads, and so must not be asked for. */
const PICTURE_EXTRA = ['pixel_mask'];

/** Misfit of a graph with a task whose one input is a picture: float32, float16 or uint8, channels first or last, in colour or grey. */
export function pictureMisfit({ inputs }: Signature): string | undefined {
  const [picture, ...others] = inputs.filter(({ name }) => !PICTURE_EXTRA.includes(name));
  if (!picture || others.length > 0)
    return `it takes ${shown(inputs)}; a picture is one input, as float32[N,3,H,W]`;
  if (pictureLayout(picture)) return undefined;
  return `its picture is ${shown([picture])}; float32, float16 and uint8 can be fed, [N,C,H,W] or [N,H,W,C] of 1 or 3 channels`;
}

/** Misfit of a graph with a task whose one input is a window of numbers over time. */
export function seriesMisfit({ inputs }: Signature): string | undefined {
  const found = seriesInputs(inputs);
  if (found) return undefined;
  return `it takes ${shown(inputs)}; a window is one input, as float32[N,T,C] or float32[N,C,T]`;
}

/** Misfit of a graph with a task whose inputs are a text's tokens, `i64[N,L]` each. */
export function textMisfit({ inputs }: Signature): string | undefined {
  const unknown = inputs.filter(({ name }) => !TEXT_INPUTS.includes(name));
  if (unknown.length > 0) return `it takes ${shown(unknown)}; ${TEXT_INPUTS.join(', ')} can be fed`;
  if (!inputs.some(({ name }) => name === 'input_ids')) return 'it takes no input_ids';
  const odd = inputs.find(({ type, dims }) => type !== 'int64' || dims.length !== 2);
  return odd && `it takes ${shown([odd])}; expected int64[N,L]`;
}

/**
 * Misfit of a graph with a task that reads logits, `f32[N,C]` or, of each token, `f32[N,L,C]`.
 *
 * @param rank how many axes they have
 * @param labels C; undefined where it is none of the labels' number
 */
export function logitsMisfit(
  { outputs }: Signature,
  rank: number,
  labels: number | undefined,
): string | undefined {
  const logits = outputs.find(({ name }) => name === 'logits') ?? outputs[0];
  if (!logits) return 'it has no output';
  // Some exporters leave shapes out.
  if (logits.dims.length === 0) return undefined;
  if (logits.dims.length !== rank) return `it gives ${shown([logits])}; expected ${rank} axes`;
  const classes = logits.dims.at(-1);
  const isOther = labels !== undefined && typeof classes === 'number' && classes !== labels;
  return isOther ? `it gives ${classes} numbers, and has ${labels} labels` : undefined;
}

/** Misfit of a graph with a task that reads how well a text answers a query: one logit, or those of "no" and "yes". */
export function rankingMisfit(signature: Signature): string | undefined {
  const logits = signature.outputs.find(({ name }) => name === 'logits') ?? signature.outputs[0];
  const count = logits?.dims.at(-1);
  if (logits?.dims.length === 2 && typeof count === 'number' && count > 2)
    return `it gives ${shown([logits])}; a cross-encoder gives one number or two`;
  // Some graphs give f32[N].
  return logits?.dims.length === 1 ? undefined : logitsMisfit(signature, 2, undefined);
}

/** Misfit of a graph with a task that reads where an answer starts and ends: two outputs, `f32[N,L]` each. */
export function spansMisfit({ outputs }: Signature): string | undefined {
  const names = outputs.map(({ name }) => name);
  const hasBoth = names.includes('start_logits') && names.includes('end_logits');
  return hasBoth ? undefined : `it gives ${names.join(', ')}; expected start_logits and end_logits`;
}

/** Misfit of a graph with semantic segmentation: logits `f32[N,C,h,w]`. */
export function masksMisfit({ outputs }: Signature, labels: number | undefined): string | undefined {
  const byQuery = outputs.find(({ name }) =>
    /^(class_queries_logits|masks_queries_logits|pred_masks)$/.test(name),
  );
  if (byQuery)
    return `it gives ${shown([byQuery])}: segmentation of instances and panoptic segmentation are not done; a model …ForSemanticSegmentation can be run`;
  const logits = outputs.find(({ name }) => name === 'logits') ?? outputs[0];
  if (!logits) return 'it has no output';
  if (logits.dims.length === 0) return undefined;
  if (logits.type !== 'float32' && logits.type !== 'float16')
    return `it gives ${shown([logits])}; expected logits float32[N,C,h,w], before any argmax`;
  if (logits.dims.length !== 4) return `it gives ${shown([logits])}; expected float32[N,C,h,w]`;
  const classes = logits.dims[1];
  const isOther = labels !== undefined && typeof classes === 'number' && classes !== labels;
  return isOther ? `it gives ${classes} numbers a pixel, and has ${labels} labels` : undefined;
}

/** Misfit of a graph with depth estimation: a number a pixel, `f32[N,h,w]` or `f32[N,1,h,w]`. */
export function depthMisfit({ outputs }: Signature): string | undefined {
  const depth = outputs.find(({ name }) => name === 'predicted_depth') ?? outputs[0];
  if (!depth) return 'it has no output';
  const channels = depth.dims.length === 4 ? (depth.dims[1] ?? 1) : 1;
  const fits =
    depth.dims.length === 0 || ((depth.dims.length === 3 || depth.dims.length === 4) && channels === 1);
  return fits ? undefined : `it gives ${shown([depth])}; expected float32[N,h,w]`;
}

/** Misfit of a graph with a task whose one input is a sound: samples `f32[N,S]`, or their spectrum `f32[N,T,M]`. */
export function soundMisfit({ inputs }: Signature): string | undefined {
  const [sound, ...others] = inputs.filter(({ name }) => name !== 'attention_mask');
  const fits = sound?.type === 'float32' && (sound.dims.length === 2 || sound.dims.length === 3);
  if (fits && others.length === 0) return undefined;
  return `it takes ${shown(inputs)}; a sound is one input, as float32[N,S] or float32[N,T,M]`;
}

/** Misfit of a graph with a task that compares texts with pictures: both towers, or that of texts, which another graph stands beside. */
export function towersMisfit({ inputs, outputs }: Signature): string | undefined {
  const words = inputs.filter(({ name }) => TEXT_INPUTS.includes(name));
  const pictures = inputs.filter(({ name }) => !TEXT_INPUTS.includes(name));
  const misfit = textMisfit({ inputs: words, outputs });
  if (misfit !== undefined) return misfit;
  const given = outputs.map(({ name }) => name);
  if (pictures.length === 0)
    return given.some((name) => name === 'text_embeds' || name === 'pooler_output')
      ? undefined
      : `it gives ${given.join(', ')}; expected text_embeds or pooler_output`;
  const isWhole = given.includes('logits_per_image');
  return (
    pictureMisfit({ inputs: pictures, outputs }) ??
    (isWhole ? undefined : `it gives ${given.join(', ')}; expected logits_per_image`)
  );
}

/** Misfit of a graph with a task that takes and gives tensors as they are. */
export function tensorsMisfit({ inputs, outputs }: Signature): string | undefined {
  const odd = [...inputs, ...outputs].find(({ type }) => !FEEDABLE.has(type));
  if (!odd) return undefined;
  // Converters of scikit-learn and its kin make maps of probabilities, unless they are told not to.
  const isMapped = outputs.includes(odd) && (odd.type === 'sequence of maps' || odd.type === 'map');
  const remedy = isMapped
    ? '; convert it so that it gives tensors: skl2onnx with options={"zipmap": False}, onnxmltools with zipmap=False'
    : '';
  return `${shown([odd])} is of a type that cannot be fed or read${remedy}`;
}

const FEEDABLE = new Set([
  ...['bool', 'uint8', 'uint16', 'uint32', 'uint64', 'int8', 'int16', 'int32', 'int64'],
  ...['float16', 'float32', 'float64', 'string'],
]);

const dimText = (dim: number | null): string => (dim === null ? '?' : String(dim));

/** `images float32[1,3,416,416]`. */
export const shown = (tensors: readonly TensorSpec[]): string =>
  tensors
    .map(({ name, type, dims }) => `${name} ${type}${NOT_TENSORS.has(type) ? '' : `[${dims.map(dimText)}]`}`)
    .join(', ') || 'nothing';

const NOT_TENSORS: ReadonlySet<string> = new Set(['sequence', 'sequence of maps', 'map', 'optional']);
