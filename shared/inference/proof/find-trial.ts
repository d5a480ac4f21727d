/**
 * Finds an input that a graph takes where nobody has given one: dynamic axes of length 1 do for most; a sound or a picture must be longer,
 * by how much only trying tells. What no made-up input fits is not the model's fault: it is taken as untested, and called that.
 */
import type { ModelFolder } from '../../release/folder/model-folder.ts';
import type { ModelSpec } from '../../release/folder/model-spec.ts';
import { ERRORS, toAppError } from '../../runtime/errors.ts';
import { sizeOf } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import type { Runner } from '../runner/runner.ts';
import { smallestInput } from './smallest-input.ts';

type Shapes = Readonly<Record<string, readonly number[]>>;

/** Windows of sounds, sides of pictures, lengths of texts as graphs are made for. */
const SIZES = [2, 4, 8, 16, 32, 48, 64, 96, 128, 224, 256, 512, 640, 1_024, 2_048, 4_096, 16_000];
/** Beyond it axes are not tried by twos and threes. */
const MAX_AXES = 4;
/** Of a grown tensor: a picture of 640 x 640. */
const MAX_ELEMENTS = 1_300_000;
const MAX_WORDS = 300;

/**
 * @param folder of a `tensor` model without golden inputs
 * @returns undefined where the least will do
 * @throws what the runner ends by at the least input
 */
export async function findTrial(
  runner: Pick<Runner, 'infer'>,
  { path, spec }: Pick<ModelFolder, 'path' | 'spec'>,
): Promise<ModelSpec['trial']> {
  let untested: string | undefined;
  for (const shapes of trialShapes(spec.signature?.inputs ?? [])) {
    const trial = shapes && { shapes: shapes as Record<string, number[]> };
    try {
      await runner.infer(await smallestInput({ path, spec: { ...spec, trial } }));
      return trial;
    } catch (error) {
      const { code, message } = toAppError(error);
      // What it dies of at the least that can be asked, it would die of elsewhere; a size that we made up may be too much for any.
      const isEnd = ERRORS[code].kind !== 'caller';
      if (isEnd && untested === undefined) throw error;
      untested ??= message.slice(0, MAX_WORDS);
      if (isEnd) break;
    }
  }
  return untested === undefined ? undefined : { untested };
}

/** A dynamic axis of an input. */
interface Axis {
  readonly input: string;
  readonly axis: number;
}

/** Shapes to try in turn: undefined, the least; then all dynamic axes that are not a batch's, and some of them, longer and longer. */
export function* trialShapes(inputs: readonly TensorSpec[]): Generator<Shapes | undefined> {
  yield undefined;
  const all = inputs.flatMap(({ name, dims }) =>
    dims.flatMap((dim, axis): Axis[] => (dim === null ? [{ input: name, axis }] : [])),
  );
  const rankOf = (name: string): number => inputs.find((input) => input.name === name)?.dims.length ?? 0;
  const inner = all.filter(({ input, axis }) => axis > 0 || rankOf(input) === 1);
  const sets = inner.length === all.length ? subsets(inner) : [...subsets(inner), all];
  for (const size of SIZES)
    for (const set of sets) {
      const shapes = Object.fromEntries(inputs.map((input) => [input.name, shapeOf(input, set, size)]));
      if (Object.values(shapes).every((shape) => sizeOf(shape) <= MAX_ELEMENTS)) yield shapes;
    }
}

const shapeOf = ({ name, dims }: TensorSpec, set: readonly Axis[], size: number): number[] =>
  dims.map((dim, axis) => dim ?? (set.some((one) => one.input === name && one.axis === axis) ? size : 1));

/** The largest first: axes are more often alike than not. */
function subsets(axes: readonly Axis[]): Axis[][] {
  if (axes.length === 0) return [];
  if (axes.length > MAX_AXES) return [[...axes], ...axes.map((one) => [one])];
  const sets = Array.from({ length: 2 ** axes.length - 1 }, (_, index) =>
    axes.filter((_axis, bit) => ((index + 1) >> bit) & 1),
  );
  return sets.sort((a, b) => b.length - a.length);
}
