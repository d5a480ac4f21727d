/** Rows of tensors put together for one run, and taken apart again. Pure. */
import { AppError } from '../../runtime/errors.ts';
import { sizeOf, type Tensors, type TensorValue } from '../../tasks/tensor/element-types.ts';

/** One row of each request, along the first axis. @param all of equal names, types and shapes [1,...] */
export function joined(all: readonly Tensors[]): Tensors {
  const [first = {}] = all;
  return Object.fromEntries(
    Object.entries(first).map(([name, value]) => {
      const dims = [all.length, ...value.dims.slice(1)];
      const size = sizeOf(value.dims);
      const data = emptyLike(value, all.length * size);
      for (const [row, feeds] of all.entries()) copy(feeds[name], data, row * size);
      // The array is of the value's own kind.
      return [name, { type: value.type, data, dims } as TensorValue];
    }),
  );
}

/** @returns undefined when an output has not one row for each of `count` requests */
export function splitRows(outputs: Tensors, count: number): Tensors[] | undefined {
  const values = Object.entries(outputs);
  if (values.some(([, { dims }]) => dims[0] !== count)) return undefined;
  return Array.from({ length: count }, (_, row) =>
    Object.fromEntries(
      values.map(([name, { type, data, dims }]) => {
        const size = sizeOf(dims.slice(1));
        const part = data.slice(row * size, (row + 1) * size);
        return [name, { type, data: part, dims: [1, ...dims.slice(1)] } as TensorValue];
      }),
    ),
  );
}

function emptyLike({ data }: TensorValue, length: number): TensorValue['data'] {
  if (Array.isArray(data)) return new Array<string>(length).fill('');
  const Kind = data.constructor as new (length: number) => Exclude<TensorValue['data'], string[]>;
  return new Kind(length);
}

function copy(from: TensorValue | undefined, to: TensorValue['data'], at: number): void {
  if (from === undefined) throw new AppError('INVARIANT_BROKEN', 'a batch of unlike requests');
  if (Array.isArray(to)) for (const [index, text] of (from.data as string[]).entries()) to[at + index] = text;
  else (to as Uint8Array).set(from.data as Uint8Array, at);
}
