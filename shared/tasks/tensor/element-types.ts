/** The element types that ONNX Runtime takes in JavaScript, by its names and by those of the Open Inference Protocol. */
import type { TensorType } from './schema.ts';

/** In which array each type travels; `float16` as its 16 bits, `bool` as 0 and 1. */
interface ArrayOf {
  bool: Uint8Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  float16: Uint16Array;
  float32: Float32Array;
  float64: Float64Array;
  string: string[];
}
/** An element type by ONNX Runtime's name. */
export type ElementType = keyof ArrayOf;

/** A tensor with its elements in row-major order. */
export type TensorValue = {
  [T in ElementType]: { readonly type: T; readonly data: ArrayOf[T]; readonly dims: readonly number[] };
}[ElementType];

/** Tensors by their names: what a graph is fed, and what it gives. */
export type Tensors = Readonly<Record<string, TensorValue>>;

/** ONNX Runtime's names of element types in those of the Open Inference Protocol. */
export const DATATYPES: Readonly<Record<ElementType, TensorType>> = {
  bool: 'BOOL',
  uint8: 'UINT8',
  uint16: 'UINT16',
  uint32: 'UINT32',
  uint64: 'UINT64',
  int8: 'INT8',
  int16: 'INT16',
  int32: 'INT32',
  int64: 'INT64',
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  string: 'BYTES',
};

/** Whether ONNX Runtime takes and gives elements of such a type in JavaScript. */
export const isElementType = (type: string): type is ElementType => Object.hasOwn(DATATYPES, type);

/** Elements of a tensor of these dims. */
export const sizeOf = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1);

/** Values that JSON has no number for, as a tensor's data has them there. */
export const NOT_FINITE: ReadonlySet<unknown> = new Set(['NaN', 'Infinity', '-Infinity']);
