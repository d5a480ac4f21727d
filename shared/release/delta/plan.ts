/** Which part of the result is made of which part of the base, before any byte is compared: tensors by content, by name, by shape. */
import { createHash } from 'node:crypto';
import { BLOCK_BYTES, type ElementForm, type Rows } from './format.ts';
import type { OpenFile } from './open-file.ts';
import type { TensorSpan } from './tensors.ts';

/** Stretch of the result. */
export interface Stretch {
  readonly offset: number;
  readonly length: number;
  /** Where in the base what it is made of lies; for bytes, where the like of it is looked for first. */
  readonly from: number | undefined;
  /** undefined: bytes. */
  readonly form: ElementForm | undefined;
  /** Of a tensor. */
  readonly rows?: Rows;
  /** Both are known to be the same. */
  readonly isSame: boolean;
}

/** A smaller tensor is cheaper among the bytes around it. */
const MIN_TENSOR_BYTES = 128;

/** A file and its tensors. */
export interface Mapped {
  readonly file: OpenFile;
  readonly tensors: readonly TensorSpan[];
}

/** The whole of the result, from its beginning to its end. */
export function plan(base: Mapped, result: Mapped): Stretch[] {
  const partners = partnersOf(base, result);
  const stretches: Stretch[] = [];
  let [at, shift] = [0, 0];
  const bytesUntil = (end: number): void => {
    if (end > at)
      stretches.push({ offset: at, length: end - at, from: at + shift, form: undefined, isSame: false });
    at = end;
  };
  for (const tensor of result.tensors) {
    const partner = partners.get(tensor);
    if (!partner) continue;
    const { offset, length, form, rows } = tensor;
    bytesUntil(offset);
    shift = partner.of.offset - offset;
    stretches.push({ offset, length, from: partner.of.offset, form, rows, isSame: partner.isSame });
    at = offset + length;
  }
  bytesUntil(result.file.bytes);
  return stretches;
}

/** Stretches of the base that no tensor of the result is made of. */
export function leftOver(base: Mapped, stretches: readonly Stretch[]): { offset: number; length: number }[] {
  const used = stretches
    .filter(({ form }) => form !== undefined)
    .map(({ from = 0, length }) => ({ from, length }));
  used.sort((a, b) => a.from - b.from);
  const left: { offset: number; length: number }[] = [];
  let at = 0;
  for (const { from, length } of used) {
    if (from > at) left.push({ offset: at, length: from - at });
    at = Math.max(at, from + length);
  }
  if (base.file.bytes > at) left.push({ offset: at, length: base.file.bytes - at });
  return left;
}

interface Partner {
  readonly of: TensorSpan;
  readonly isSame: boolean;
}

/** Each tensor's partner in the base. One of the base may stand for several. */
function partnersOf(base: Mapped, result: Mapped): Map<TensorSpan, Partner> {
  const large = ({ length }: TensorSpan): boolean => length >= MIN_TENSOR_BYTES;
  const [old, now] = [base.tensors.filter(large), result.tensors.filter(large)];
  const partners = new Map<TensorSpan, Partner>();
  const byContent = new Map<string, TensorSpan[]>();
  for (const one of old) {
    const content = contentOf(base.file, one);
    byContent.set(content, [...(byContent.get(content) ?? []), one]);
  }
  for (const one of now) {
    const same = byContent.get(contentOf(result.file, one));
    // Of several that are the same, the one whose neighbours are likely the same as well.
    const of = same?.find(({ name }) => name === one.name) ?? same?.[0];
    if (of) partners.set(one, { of, isSame: true });
  }
  const byName = new Map(old.filter(({ name }) => name !== '').map((one) => [one.name, one]));
  for (const one of now) {
    const of = byName.get(one.name);
    if (of && !partners.has(one) && isLike(of, one)) partners.set(one, { of, isSame: false });
  }
  // An exporter that numbers what it names has numbered anew: in the order in which they lie, of one type and shape.
  const taken = new Set([...partners.values()].map(({ of }) => of));
  const spare = new Map<string, TensorSpan[]>();
  for (const one of old) if (!taken.has(one)) spare.set(one.shape, [...(spare.get(one.shape) ?? []), one]);
  for (const one of now) {
    if (partners.has(one)) continue;
    const of = spare.get(one.shape)?.shift();
    if (of && isLike(of, one)) partners.set(one, { of, isSame: false });
  }
  return partners;
}

const isLike = (a: TensorSpan, b: TensorSpan): boolean => a.form === b.form && a.length === b.length;

function contentOf(file: OpenFile, { offset, length }: TensorSpan): string {
  const hash = createHash('sha256');
  for (let at = 0; at < length; at += BLOCK_BYTES)
    hash.update(file.read(offset + at, Math.min(BLOCK_BYTES, length - at)));
  return `${length} ${hash.digest('base64')}`;
}
