/** `tensor`: any graph, its inputs and outputs as they are, in the Open Inference Protocol's JSON. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

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

/** Which outputs are answered. */
export const tensorParameters = z.strictObject({
  /** Names of the outputs to answer with; all when left out. */
  outputs: z.array(z.string().min(1).max(255)).min(1).max(64).optional(),
});
export type TensorParameters = z.infer<typeof tensorParameters>;

/** Tensors in JSON: as the Open Inference Protocol has them, nested numbers by name, or those alone for a model with one input. */
const tensorInputs = z.union([
  z.array(tensor).min(1).max(64),
  // Nested numbers are walked where the model's types are known: a schema would visit each pixel twice.
  z.array(z.unknown()).min(1),
  z.record(z.string().min(1).max(255), z.union([z.number(), z.boolean(), z.string(), z.array(z.unknown())])),
]);

/** The schema of `tensor`. */
export const tensorTask: TaskSchema = {
  inputKind: 'tensors',
  inputs: tensorInputs,
  parameters: tensorParameters,
  output: z.array(tensor),
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
