/**
 * Tensors between JSON and memory. What JSON has no number for travels as a string, as in protobuf's JSON mapping: integers beyond
 * 2^53 in decimal digits, `NaN`, `Infinity`, `-Infinity`. Nothing is ever rounded in silence. Pure.
 */

import { AppError } from '../../runtime/errors.ts';
import {
  DATATYPES,
  type ElementType,
  NOT_FINITE,
  sizeOf,
  type TensorValue,
} from '../../tasks/tensor/element-types.ts';
import { fromHalf, toHalf } from '../../tasks/tensor/half.ts';
import type { Tensor } from '../../tasks/tensor/schema.ts';
import { BYTES_OF, type RawTensor } from './safetensors.ts';

/** Where integers of each type end. */
const LIMITS: Readonly<Record<string, readonly [number, number]>> = {
  uint8: [0, 255],
  uint16: [0, 65_535],
  uint32: [0, 4_294_967_295],
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  int32: [-2_147_483_648, 2_147_483_647],
};
const LONG_LIMITS: Readonly<Record<'int64' | 'uint64', readonly [bigint, bigint]>> = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

/** Type and shape that elements must have. */
export interface ElementsOptions {
  /** For messages. */
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
}

/**
 * @param elements flat, in row-major order, as many as the shape has
 * @throws INPUT_INVALID naming the first element that is not of the type
 */
export function valueFrom(elements: readonly unknown[], { name, type, dims }: ElementsOptions): TensorValue {
  const wrong = (element: unknown): AppError =>
    new AppError('INPUT_INVALID', `${name}: ${shown(element)} is no ${DATATYPES[type]}${inexact(element)}`);
  const each = <T>(read: (element: unknown) => T | undefined): T[] =>
    elements.map((element) => {
      const value = read(element);
      if (value === undefined) throw wrong(element);
      return value;
    });
  const whole = (element: unknown): number | undefined => integer(element, LIMITS[type]);
  switch (type) {
    case 'bool':
      return {
        type,
        dims,
        data: Uint8Array.from(each((e) => (typeof e === 'boolean' ? Number(e) : undefined))),
      };
    case 'string':
      return { type, dims, data: elements.map((element) => wholeText(element, name)) };
    case 'float16':
      return { type, dims, data: Uint16Array.from(each(float), toHalf) };
    case 'float32':
      return { type, dims, data: Float32Array.from(each(float)) };
    case 'float64':
      return { type, dims, data: Float64Array.from(each(float)) };
    case 'int64':
      return { type, dims, data: BigInt64Array.from(each((e) => long(e, LONG_LIMITS.int64))) };
    case 'uint64':
      return { type, dims, data: BigUint64Array.from(each((e) => long(e, LONG_LIMITS.uint64))) };
    case 'uint8':
      return { type, dims, data: Uint8Array.from(each(whole)) };
    case 'uint16':
      return { type, dims, data: Uint16Array.from(each(whole)) };
    case 'uint32':
      return { type, dims, data: Uint32Array.from(each(whole)) };
    case 'int8':
      return { type, dims, data: Int8Array.from(each(whole)) };
    case 'int16':
      return { type, dims, data: Int16Array.from(each(whole)) };
    case 'int32':
      return { type, dims, data: Int32Array.from(each(whole)) };
  }
}

/** ONNX Runtime's strings end at a NUL, and are UTF-8: what would come out as another text is refused. @throws INPUT_INVALID */
function wholeText(element: unknown, name: string): string {
  if (typeof element !== 'string')
    throw new AppError('INPUT_INVALID', `${name}: ${shown(element)} is no BYTES`);
  if (!element.includes('\0') && !/\p{Surrogate}/u.test(element)) return element;
  throw new AppError(
    'INPUT_INVALID',
    `${name}: a BYTES element with a NUL or half a character cannot be fed`,
  );
}

function float(element: unknown): number | undefined {
  if (typeof element === 'number') return element;
  return NOT_FINITE.has(element) ? Number(element) : undefined;
}

function integer(element: unknown, limits: readonly [number, number] | undefined): number | undefined {
  const [least, most] = limits ?? [0, 0];
  const fits =
    typeof element === 'number' && Number.isInteger(element) && element >= least && element <= most;
  return fits ? element : undefined;
}

function long(element: unknown, [least, most]: readonly [bigint, bigint]): bigint | undefined {
  const isExact =
    (typeof element === 'number' && Number.isSafeInteger(element)) ||
    (typeof element === 'string' && /^-?\d{1,20}$/.test(element));
  if (!isExact) return undefined;
  const value = BigInt(element as number | string);
  return value >= least && value <= most ? value : undefined;
}

/** RFC 8259 6: beyond it, readers of JSON do not agree on a whole number; what came here is a neighbour of what was sent. */
const inexact = (element: unknown): string =>
  Number.isInteger(element) && !Number.isSafeInteger(element)
    ? ': a number of JSON is exact up to 9007199254740991; send it as a text ("9223372036854775807"), or in binary'
    : '';

/** A value in an error message. */
function shown(element: unknown): string {
  return typeof element === 'object' && element !== null ? 'a list or an object' : `${element}`.slice(0, 40);
}

/** The elements of raw bytes, copied, because they may lie at any address. @throws INVARIANT_BROKEN for strings */
export function valueFromBytes(
  { name, datatype, bytes, shape: dims }: RawTensor,
  type: ElementType,
): TensorValue {
  if (
    type === 'string' ||
    DATATYPES[type] !== datatype ||
    bytes.length !== sizeOf(dims) * BYTES_OF[datatype as 'INT8']
  )
    throw new AppError('INVARIANT_BROKEN', `${name}: ${datatype} bytes taken for ${type}`);
  const { buffer } = Uint8Array.from(bytes);
  switch (type) {
    case 'bool':
      return { type, dims, data: new Uint8Array(buffer).map((byte) => Number(byte !== 0)) };
    case 'uint8':
      return { type, dims, data: new Uint8Array(buffer) };
    case 'float16':
    case 'uint16':
      return { type, dims, data: new Uint16Array(buffer) };
    case 'uint32':
      return { type, dims, data: new Uint32Array(buffer) };
    case 'uint64':
      return { type, dims, data: new BigUint64Array(buffer) };
    case 'int8':
      return { type, dims, data: new Int8Array(buffer) };
    case 'int16':
      return { type, dims, data: new Int16Array(buffer) };
    case 'int32':
      return { type, dims, data: new Int32Array(buffer) };
    case 'int64':
      return { type, dims, data: new BigInt64Array(buffer) };
    case 'float32':
      return { type, dims, data: new Float32Array(buffer) };
    case 'float64':
      return { type, dims, data: new Float64Array(buffer) };
  }
}

/** A tensor as the Open Inference Protocol writes it in JSON: what JSON has no number for becomes a string. */
export function toJson(name: string, value: TensorValue): Tensor {
  return { name, datatype: DATATYPES[value.type], shape: [...value.dims], data: elementsOf(value) };
}

function elementsOf(value: TensorValue): Tensor['data'] {
  const finite = (number: number): number | string => (Number.isFinite(number) ? number : String(number));
  switch (value.type) {
    case 'bool':
      return Array.from(value.data, (bit) => bit !== 0);
    case 'string':
      return value.data;
    case 'int64':
    case 'uint64':
      return Array.from(value.data, (long) => {
        const number = Number(long);
        return Number.isSafeInteger(number) ? number : String(long);
      });
    case 'float16':
      return Array.from(value.data, (bits) => finite(fromHalf(bits)));
    case 'float32':
    case 'float64':
      return Array.from(value.data, finite);
    case 'uint8':
    case 'uint16':
    case 'uint32':
    case 'int8':
    case 'int16':
    case 'int32':
      return Array.from(value.data);
  }
}
