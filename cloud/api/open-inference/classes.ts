/**
 * Triton's classification extension: an output asked for with `classification: K` (`class_count` of its clients) comes as its K largest
 * values, each a text `value:index:label`, or `value:index` where the labels are not known.
 */
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Classification } from '../../../shared/tasks/forms/labels.ts';
import { sizeOf } from '../../../shared/tasks/tensor/element-types.ts';
import type { Tensor } from '../../../shared/tasks/tensor/schema.ts';

/** Texts of the best labels, [N,K]. */
interface Classes {
  readonly shape: readonly number[];
  readonly datatype: 'BYTES';
  readonly data: readonly string[];
}

/** Labels of answers as Triton’s texts. @param labels in the order of the graph’s logits @param count of each answer */
export function classesOfLabels(
  rows: readonly (readonly Classification[])[],
  labels: readonly string[] | undefined,
  count: number,
): Classes {
  const cut = rows.map((row) => row.slice(0, count));
  const data = cut.flatMap((row) =>
    row.map(({ label, score }) => `${score.toFixed(6)}:${labels?.indexOf(label) ?? -1}:${label}`),
  );
  return { shape: [cut.length, cut[0]?.length ?? 0], datatype: 'BYTES', data };
}

/** The largest values of each row of a tensor as Triton’s texts. @throws BAD_REQUEST (it has no numbers) */
export function classesOfTensor(
  { name, shape, datatype, data }: Tensor,
  labels: readonly string[] | undefined,
  count: number,
): Classes {
  if (datatype === 'BYTES' || datatype === 'BOOL')
    throw new AppError('BAD_REQUEST', `classification: ${name} has no numbers to rank`);
  const rows = shape.length > 1 ? (shape[0] as number) : 1;
  const width = rows === 0 ? 0 : sizeOf(shape) / rows;
  const most = Math.min(count, width);
  const named = labels?.length === width ? labels : undefined;
  const isWhole = !datatype.startsWith('FP');
  const texts = Array.from({ length: rows }, (_, row) =>
    data
      .slice(row * width, (row + 1) * width)
      .map((value, index) => ({ value: Number(value), index }))
      .sort((a, b) => b.value - a.value || a.index - b.index)
      .slice(0, most)
      .map(({ value, index }) => {
        const text = `${isWhole ? value : value.toFixed(6)}:${index}`;
        return named ? `${text}:${named[index]}` : text;
      }),
  );
  return { shape: shape.length > 1 ? [rows, most] : [most], datatype: 'BYTES', data: texts.flat() };
}
