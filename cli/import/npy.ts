/** Reads NumPy's array file (`numpy.save`), as numpy.lib.format describes it. Pure. */

import { parsePython } from '../../shared/release/import/python-literal.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { fromHalf } from '../../shared/tasks/tensor/half.ts';

/** An array with its elements in row-major order, as JSON writes them: integers beyond 2^53 as digits. */
export interface NpyArray {
  readonly shape: readonly number[];
  readonly elements: readonly (number | string | boolean)[];
}

const MAGIC = Buffer.from('\x93NUMPY', 'latin1');
/** NumPy's own limit of what it reads without being asked. */
const MAX_HEADER_BYTES = 10_000;

/** Little-endian types, each with the bytes of one element. */
const TYPES: Readonly<
  Record<string, readonly [bytes: number, read: (view: DataView, at: number) => unknown]>
> = {
  '|b1': [1, (view, at) => view.getUint8(at) !== 0],
  '|i1': [1, (view, at) => view.getInt8(at)],
  '|u1': [1, (view, at) => view.getUint8(at)],
  '<i2': [2, (view, at) => view.getInt16(at, true)],
  '<u2': [2, (view, at) => view.getUint16(at, true)],
  '<i4': [4, (view, at) => view.getInt32(at, true)],
  '<u4': [4, (view, at) => view.getUint32(at, true)],
  '<i8': [8, (view, at) => String(view.getBigInt64(at, true))],
  '<u8': [8, (view, at) => String(view.getBigUint64(at, true))],
  '<f2': [2, (view, at) => fromHalf(view.getUint16(at, true))],
  '<f4': [4, (view, at) => view.getFloat32(at, true)],
  '<f8': [8, (view, at) => view.getFloat64(at, true)],
};

/** Told by its first bytes. */
export const isNpy = (bytes: Uint8Array): boolean => MAGIC.equals(bytes.subarray(0, MAGIC.length));

/** @param file for messages @throws FILE_UNREADABLE */
export function readNpy(file: string, bytes: Uint8Array): NpyArray {
  const bad = (why: string): AppError => new AppError('FILE_UNREADABLE', `${file}: ${why}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!isNpy(bytes) || bytes.length < 12) throw bad('is not an array of NumPy');
  const isLong = view.getUint8(6) > 1;
  const from = isLong ? 12 : 10;
  const length = isLong ? view.getUint32(8, true) : view.getUint16(8, true);
  if (length > MAX_HEADER_BYTES || from + length > bytes.length) throw bad('its header is cut off');
  const header = parsePython(
    Buffer.from(bytes.subarray(from, from + length))
      .toString('latin1')
      .trim(),
  );
  const [descr, shape] = header instanceof Map ? [header.get('descr'), header.get('shape')] : [];
  if (!(header instanceof Map) || !isShape(shape)) throw bad('its header says no shape');
  const type = typeof descr === 'string' ? TYPES[descr] : undefined;
  if (!type)
    throw bad(
      `its type ${JSON.stringify(descr)} cannot be read; numbers are, as NumPy keeps them on x86 and ARM`,
    );
  if (header.get('fortran_order') === true && shape.length > 1)
    throw bad('it lies column by column; save numpy.ascontiguousarray of it');
  const [size, read] = type;
  const count = shape.reduce((product, dim) => product * dim, 1);
  const data = from + length;
  if (data + count * size > bytes.length) throw bad(`it ends within its ${count} elements`);
  const elements = Array.from({ length: count }, (_, index) => read(view, data + index * size));
  return { shape, elements: elements as NpyArray['elements'] };
}

const isShape = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((dim) => Number.isInteger(dim) && dim >= 0);
