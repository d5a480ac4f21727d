/** A graph that looks at pictures of one size: the tensors that it takes, whatever their order and type, and runs of many pictures. */
import { type PictureLayout, pictureDims, pictureLayout } from '../../release/folder/picture-layout.ts';
import type { PictureRecipe, SizePx } from '../../release/folder/picture-recipe.ts';
import { AppError } from '../../runtime/errors.ts';
import type { Tensors, TensorValue } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { mixesRows } from '../graph/batch-safety.ts';
import { loadSession, type Session } from '../graph/session.ts';
import type { ModelSource } from '../runner/task-model.ts';
import { coloursFor, pictureArray, writePlanes } from './picture-tensor.ts';

/** How a graph is fed, and from where it is loaded. */
export interface PictureGraphOptions {
  readonly modelPath: string;
  /** How bytes become numbers. */
  readonly colours: Pick<PictureRecipe, 'table' | 'channels'>;
  /** Of every picture; undefined: each has its own. */
  readonly size: SizePx | undefined;
  /** Inputs that are none of the picture's, which whoever runs it feeds. */
  readonly beside?: readonly string[];
}

/** A loaded graph with a picture among its inputs. */
export interface PictureGraph {
  readonly session: Session;
  /** Pictures that may share a run: 1 where one's answer would depend on another's. */
  readonly maxBatchSize: number;
  /**
   * @param pictures u8[H,W,3] RGB each, all of one size
   * @param more values of the inputs beside the picture's
   * @returns the outputs of these names
   */
  run(
    pictures: readonly Uint8Array[],
    sizePx: SizePx,
    names: readonly string[],
    more?: Tensors,
  ): Promise<Tensors>;
}

/** @throws MODEL_INVALID for a graph that takes no such picture */
export async function loadPictureGraph(
  source: ModelSource,
  { modelPath, colours, size, beside = [] }: PictureGraphOptions,
): Promise<PictureGraph> {
  const { spec } = source;
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const { input, layout } = pictureInput(session, size, beside);
  const recipe = coloursFor(colours, layout);
  const isBatchSafe =
    spec.batch.safe && layout.hasBatch && input.dims[0] === null && !(await mixesRows(modelPath));
  return {
    session,
    maxBatchSize: isBatchSafe ? spec.batch.maxSize : 1,
    async run(pictures, { widthPx, heightPx }, names, more = {}) {
      const length = layout.channels * heightPx * widthPx;
      const data = pictureArray(layout, pictures.length * length);
      for (const [index, pixels] of pictures.entries())
        writePlanes(pixels, recipe, data, index * length, layout);
      const dims = pictureDims(layout, { count: pictures.length, heightPx, widthPx });
      const picture = { type: layout.type, data, dims } as TensorValue;
      return session.run({ [input.name]: picture, ...more }, names);
    },
  };
}

/** The one input that is a picture, with H and W dynamic or those of the preprocessor. @throws MODEL_INVALID */
function pictureInput(
  { inputs }: Session,
  size: SizePx | undefined,
  beside: readonly string[],
): { input: TensorSpec; layout: PictureLayout } {
  const [input, ...others] = inputs.filter(({ name }) => !beside.includes(name));
  const layout = input && pictureLayout(input);
  const fits = (dim: number | null, px: number | undefined): boolean => dim === null || dim === px;
  const isOne = (input?.dims[0] ?? 1) === 1;
  if (input && layout?.hasBatch && others.length === 0 && isOne)
    if (fits(layout.heightPx, size?.heightPx) && fits(layout.widthPx, size?.widthPx))
      return { input, layout };
  const given = inputs
    .map(({ name, type, dims }) => `${name} ${type}[${dims.map((dim) => dim ?? '?')}]`)
    .join(', ');
  const made = size ? `${size.widthPx} x ${size.heightPx}` : 'a size of its own';
  throw new AppError(
    'MODEL_INVALID',
    `the graph takes ${given}; preprocessor_config.json makes a picture of ${made}`,
  );
}
