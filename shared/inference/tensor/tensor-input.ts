/** Reads the body of a `tensor` request as a graph takes it: safetensors, named tensors in JSON, or nested numbers. Pure. */
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';
import {
  DATATYPES,
  type ElementType,
  isElementType,
  sizeOf,
  type TensorValue,
} from '../../tasks/tensor/element-types.ts';
import { tensor } from '../../tasks/tensor/schema.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { parseJson, readAs } from '../text/json-input.ts';
import { decodeSafetensors, isSafetensors } from './safetensors.ts';
import { valueFrom, valueFromBytes } from './tensor-json.ts';

/** An input of a type that can be fed. */
export interface GraphInput {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly (number | null)[];
}

/** The elements are walked once, where their type is known. */
const namedTensors = z
  .array(tensor.extend({ data: z.array(z.unknown()) }))
  .min(1)
  .max(64);
const MAX_DIMENSIONS = 16;

/** @throws MODEL_INVALID for an input that cannot be fed */
export function graphInputs(inputs: readonly TensorSpec[]): GraphInput[] {
  return inputs.map(({ name, type, dims }) => {
    if (isElementType(type)) return { name, type, dims };
    throw new AppError('MODEL_INVALID', `input ${name} is of type ${type}, which cannot be fed`);
  });
}

/** @throws TEXT_INVALID, INPUT_INVALID naming the tensor and what was expected */
export function readTensors(body: Uint8Array, inputs: readonly GraphInput[]): Record<string, TensorValue> {
  if (isSafetensors(body)) {
    const tensors = decodeSafetensors(body);
    return paired(tensors, inputs, (given, input) => valueFromBytes(given, input.type));
  }
  const json = parseJson(body);
  const isNamed =
    Array.isArray(json) && typeof json[0] === 'object' && json[0] !== null && !Array.isArray(json[0]);
  if (isNamed)
    return paired(readAs(json, namedTensors), inputs, ({ name, shape, data }, { type }) =>
      valueFrom(data, { name, type, dims: shape }),
    );
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return readNested(json, inputs);
  const [only, ...others] = inputs;
  // A graph that takes nothing may be asked all the same.
  if (only === undefined && Array.isArray(json) && json.length === 0) return {};
  if (only === undefined || others.length > 0)
    throw new AppError(
      'INPUT_INVALID',
      only === undefined
        ? 'the model takes no inputs: ask it with {}'
        : `the model takes ${inputs.map(describe).join(', ')}: name each tensor`,
    );
  const { dims, elements } = flattened(json);
  return paired([{ name: only.name, datatype: DATATYPES[only.type], shape: dims }], inputs, () =>
    valueFrom(elements, { name: only.name, type: only.type, dims }),
  );
}

/** `{"name": nested numbers}`, as the inputs of one run are written in Python. @throws INPUT_INVALID */
function readNested(json: object, inputs: readonly GraphInput[]): Record<string, TensorValue> {
  const given = Object.entries(json).map(([name, nested]) => {
    const { dims, elements } = flattened(nested);
    const type = inputs.find((input) => input.name === name)?.type ?? 'float32';
    return { name, datatype: DATATYPES[type], shape: dims, elements };
  });
  return paired(given, inputs, ({ name, shape, elements }, { type }) =>
    valueFrom(elements, { name, type, dims: shape }),
  );
}

interface Given {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

/** Gives each input of the graph its tensor. @throws INPUT_INVALID */
function paired<T extends Given>(
  given: readonly T[],
  inputs: readonly GraphInput[],
  read: (tensor: T, input: GraphInput) => TensorValue,
): Record<string, TensorValue> {
  const names = new Set(given.map(({ name }) => name));
  if (names.size < given.length) throw new AppError('INPUT_INVALID', 'a tensor is named twice');
  const strange = [...names].find((name) => !inputs.some((input) => input.name === name));
  if (strange !== undefined)
    throw new AppError(
      'INPUT_INVALID',
      `the model has no input ${strange}; it takes ${inputs.map(describe).join(', ')}`,
    );
  return Object.fromEntries(
    inputs.map((input) => {
      const one = given.find(({ name }) => name === input.name);
      if (one === undefined) throw new AppError('INPUT_INVALID', `${describe(input)} is missing`);
      if (!fits(one, input))
        throw new AppError(
          'INPUT_INVALID',
          `${one.name}: ${one.datatype}[${one.shape}] is not ${describe(input)}`,
        );
      const value = read(one, input);
      if (value.data.length !== sizeOf(one.shape))
        throw new AppError('INPUT_INVALID', `${one.name}: ${value.data.length} elements for [${one.shape}]`);
      return [input.name, value];
    }),
  );
}

const fits = ({ datatype, shape }: Given, { type, dims }: GraphInput): boolean =>
  datatype === DATATYPES[type] &&
  // ONNX Runtime says no axes of a scalar and of a tensor whose shape its exporter has left out, and takes any for both.
  (dims.length === 0 ||
    (shape.length === dims.length && dims.every((dim, axis) => dim === null || dim === shape[axis])));

const describe = ({ name, type, dims }: GraphInput): string =>
  `${name} ${DATATYPES[type]}[${dims.map((dim) => dim ?? '?')}]`;

/** Shape and elements of nested lists. @throws INPUT_INVALID for ragged or too deep ones */
function flattened(json: unknown): { dims: number[]; elements: unknown[] } {
  const dims: number[] = [];
  let elements: unknown[] = [json];
  while (Array.isArray(elements[0])) {
    const lists = elements as unknown[][];
    const width = lists[0]?.length ?? 0;
    const isEven = lists.every((list) => Array.isArray(list) && list.length === width);
    if (!isEven)
      throw new AppError('INPUT_INVALID', `the lists of dimension ${dims.length + 1} differ in length`);
    if (dims.length >= MAX_DIMENSIONS)
      throw new AppError('INPUT_INVALID', `the lists are nested over ${MAX_DIMENSIONS} deep`);
    dims.push(width);
    elements = lists.flat();
  }
  return { dims, elements };
}
