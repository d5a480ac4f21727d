/** Numbers of the Open Inference Protocol's binary extension: little-endian, in row-major order. Pure. */
import type { TensorType } from '../../../shared/tasks/tensor/schema.ts';

type NumberType = Exclude<TensorType, 'BYTES'>;
type Value = number | boolean | string;
interface Form {
  readonly bytes: number;
  read(view: DataView, at: number): Value;
  write(view: DataView, at: number, value: Value): void;
}

/** 64-bit integers beyond what a number can say stay exact as text. */
function exact(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

const FORMS: Readonly<Record<NumberType, Form>> = {
  BOOL: {
    bytes: 1,
    read: (view, at) => view.getUint8(at) !== 0,
    write: (view, at, value) => view.setUint8(at, value ? 1 : 0),
  },
  UINT8: {
    bytes: 1,
    read: (view, at) => view.getUint8(at),
    write: (view, at, v) => view.setUint8(at, Number(v)),
  },
  INT8: {
    bytes: 1,
    read: (view, at) => view.getInt8(at),
    write: (view, at, v) => view.setInt8(at, Number(v)),
  },
  UINT16: {
    bytes: 2,
    read: (view, at) => view.getUint16(at, true),
    write: (view, at, value) => view.setUint16(at, Number(value), true),
  },
  INT16: {
    bytes: 2,
    read: (view, at) => view.getInt16(at, true),
    write: (view, at, value) => view.setInt16(at, Number(value), true),
  },
  UINT32: {
    bytes: 4,
    read: (view, at) => view.getUint32(at, true),
    write: (view, at, value) => view.setUint32(at, Number(value), true),
  },
  INT32: {
    bytes: 4,
    read: (view, at) => view.getInt32(at, true),
    write: (view, at, value) => view.setInt32(at, Number(value), true),
  },
  UINT64: {
    bytes: 8,
    read: (view, at) => exact(view.getBigUint64(at, true)),
    write: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  },
  INT64: {
    bytes: 8,
    read: (view, at) => exact(view.getBigInt64(at, true)),
    write: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  },
  FP16: {
    bytes: 2,
    read: (view, at) => fromHalf(view.getUint16(at, true)),
    write: (view, at, value) => view.setUint16(at, toHalf(Number(value)), true),
  },
  FP32: {
    bytes: 4,
    read: (view, at) => view.getFloat32(at, true),
    write: (view, at, value) => view.setFloat32(at, Number(value), true),
  },
  FP64: {
    bytes: 8,
    read: (view, at) => view.getFloat64(at, true),
    write: (view, at, value) => view.setFloat64(at, Number(value), true),
  },
};

/** @returns undefined where there are not so many bytes */
export function readNumbers(bytes: Uint8Array, datatype: NumberType, count: number): Value[] | undefined {
  const form = FORMS[datatype];
  if (bytes.length !== count * form.bytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, index) => form.read(view, index * form.bytes));
}

/** Numbers in binary, little-endian, in the width of the datatype. */
export function writeNumbers(values: readonly Value[], datatype: NumberType): Buffer {
  const form = FORMS[datatype];
  const bytes = Buffer.alloc(values.length * form.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [index, value] of values.entries()) form.write(view, index * form.bytes, value);
  return bytes;
}

/** IEEE 754 binary16. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds to the nearest, ties to even. */
function toHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65_520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const scaled = size * 2 ** (10 - exponent);
  const whole = Math.floor(scaled);
  const rest = scaled - whole;
  const rounded = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
  // A carry out of the fraction raises the exponent, as it should.
  return sign | (size < 2 ** -14 ? rounded : ((exponent + 14) << 10) + rounded);
}
