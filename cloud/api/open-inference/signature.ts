/** Signature of a graph, what it takes and gives, in the words of the Open Inference Protocol. */

import type { ModelSpec } from '../../../shared/release/folder/model-spec.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { DATATYPES, isElementType } from '../../../shared/tasks/tensor/element-types.ts';
import type { TensorType } from '../../../shared/tasks/tensor/schema.ts';
import type { TensorSpec } from '../../../shared/tasks/tensor/signature.ts';

interface NamedTensor {
  readonly name: string;
  readonly datatype: TensorType;
  /** -1: of any length. */
  readonly shape: number[];
}

/** @throws MODEL_INVALID */
export function graphTensors(signature: ModelSpec['signature']): {
  inputs: NamedTensor[];
  outputs: NamedTensor[];
} {
  if (!signature)
    throw new AppError('MODEL_INVALID', 'outrider.json does not say its signature; import the folder again');
  return { inputs: signature.inputs.map(named), outputs: signature.outputs.map(named) };
}

function named({ name, type, dims }: TensorSpec): NamedTensor {
  if (!isElementType(type))
    throw new AppError('MODEL_INVALID', `${name} is of type ${type}, which the protocol does not know`);
  return { name, datatype: DATATYPES[type], shape: dims.map((dim) => dim ?? -1) };
}
