/** Puts the outputs of a detector that has finished its boxes itself into rows: f32[1,K,6] of xyxy, score, class. Pure. */
import type { FinishedOutputs } from '../../release/folder/finished-outputs.ts';
import { AppError } from '../../runtime/errors.ts';
import type { Tensors, TensorValue } from '../../tasks/tensor/element-types.ts';
import type { Floats } from '../tensor/floats.ts';

/** Names of what is nothing, at the head of a list of labels. */
const BACKGROUND = /^(_*background_*|bg|n\/a|\?+)$/i;

/** Their classes begin at 1: of a list of labels that begins with the background, each is its own place. */
const firstClass = (labels: readonly string[]): 0 | 1 => (BACKGROUND.test(labels[0] ?? '') ? 0 : 1);

/** @throws MODEL_INVALID where outputs do not belong together */
export function rowsOfFinished(outputs: Tensors, names: FinishedOutputs, labels: readonly string[]): Floats {
  const [boxes, scores, classes] = [names.boxes, names.scores, names.labels].map((name) =>
    numbersOf(outputs[name], name),
  ) as [Numbers, Numbers, Numbers];
  const most =
    names.count === undefined ? scores.length : (numbersOf(outputs[names.count], names.count)[0] ?? 0);
  const count = Math.min(scores.length, Math.max(0, Math.round(most)));
  if (boxes.length !== scores.length * 4 || classes.length !== scores.length)
    throw new AppError(
      'MODEL_INVALID',
      `the graph gives ${boxes.length / 4} boxes, ${scores.length} scores and ${classes.length} labels`,
    );
  const data = new Float32Array(count * 6);
  const from = firstClass(labels);
  for (let row = 0; row < count; row++) {
    const [a = 0, b = 0, c = 0, d = 0] = boxes.subarray(row * 4, row * 4 + 4);
    const corners = names.family === 'tensorflow' ? [b, a, d, c] : [a, b, c, d];
    data.set([...corners, scores[row] ?? 0, (classes[row] ?? 0) - from], row * 6);
  }
  return { data, dims: [1, count, 6] };
}

type Numbers = Float32Array | Float64Array;

function numbersOf(value: TensorValue | undefined, name: string): Numbers {
  if (value?.type === 'float32') return value.data;
  if (value?.type === 'int64' || value?.type === 'int32')
    return Float64Array.from(value.data as ArrayLike<number | bigint>, Number);
  throw new AppError('MODEL_INVALID', `output ${name} is ${value?.type ?? 'missing'}, which holds no boxes`);
}
