/** Reads the numbers of a graph's outputs. Pure. */

import { AppError } from '../../runtime/errors.ts';
import { sizeOf, type TensorValue } from '../../tasks/tensor/element-types.ts';
import { fromHalf } from '../../tasks/tensor/half.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';

/** An output as f32[dims], row-major. */
export interface Floats {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** @throws MODEL_INVALID when the output is missing or holds no floating-point numbers */
export function floatsOf(outputs: Readonly<Record<string, TensorValue>>, name: string): Floats {
  const output = outputs[name];
  if (output?.type === 'float32') return output;
  if (output?.type === 'float16')
    return { data: Float32Array.from(output.data, fromHalf), dims: output.dims };
  throw new AppError('MODEL_INVALID', `output ${name} is ${output?.type ?? 'missing'}, not float32`);
}

/** One row of the batch. */
export function rowOf({ data, dims }: Floats, row: number): Floats {
  const inner = dims.slice(1);
  const size = sizeOf(inner);
  return { data: data.subarray(row * size, (row + 1) * size), dims: inner };
}

/** The output that a head's answers are in: the one that is said, else `logits`, or the first where none is called that. @throws MODEL_INVALID */
export function mainOutput(
  outputs: readonly TensorSpec[],
  said: string | undefined,
  usual = 'logits',
): string {
  const named = outputs.find(({ name }) => name === (said ?? usual));
  const found = said === undefined ? (named ?? outputs[0]) : named;
  if (!found)
    throw new AppError('MODEL_INVALID', `the graph has no output${said === undefined ? '' : ` ${said}`}`);
  return found.name;
}
