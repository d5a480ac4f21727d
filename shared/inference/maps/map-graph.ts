/** A graph that answers with a map of a picture: how a picture is read for it, and runs of those that were brought to one size. */
import { join } from 'node:path';
import { mapConfig, mapRecipe } from '../../release/folder/map-recipe.ts';
import { readModelJson } from '../../release/folder/model-files.ts';
import type { SizePx } from '../../release/folder/picture-recipe.ts';
import { AppError } from '../../runtime/errors.ts';
import { MAX_MAP_PX } from '../../tasks/image-segmentation/schema.ts';
import { pictureSizeOf, readPicture, readScaledPicture } from '../picture/image.ts';
import { loadPictureGraph } from '../picture/picture-graph.ts';
import type { ModelSource } from '../runner/task-model.ts';
import { type Floats, floatsOf, mainOutput, rowOf } from '../tensor/floats.ts';

/** Pixels that a graph of any size is given: what it keeps grows with them. */
const MAX_FED_PX = 4_000_000;
/** A side of the first picture, for a graph of any size. */
const TRIAL_PX = 224;

/** A picture as the graph takes it. */
export interface MappedPicture {
  /** u8[H,W,3] RGB of `size`. */
  readonly pixels: Uint8Array;
  readonly size: SizePx;
  /** As it came, EXIF orientation applied: what the map is brought to. */
  readonly source: SizePx;
}

/** A loaded graph of maps. */
export interface MapGraph {
  readonly modelPath: string;
  readonly executionProvider: string;
  readonly maxBatchSize: number;
  /** The output that holds the map. */
  readonly output: string;
  /** @throws IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, INPUT_KIND_WRONG */
  read(body: Uint8Array): Promise<MappedPicture>;
  shapeKey(picture: MappedPicture): string;
  /** f32[...] of each picture, all of one size. @throws MODEL_INVALID */
  run(pictures: readonly MappedPicture[]): Promise<Floats[]>;
  /** A picture without anything, to try the graph with. */
  blank(): MappedPicture;
}

/** @param usual name of the output @throws MODEL_INVALID */
export async function loadMapGraph(source: ModelSource, usual: string): Promise<MapGraph> {
  const { folder, spec } = source;
  const recipe = mapRecipe(await readModelJson(folder, 'preprocessor_config.json', mapConfig));
  const modelPath = join(folder, spec.model);
  const fixed = recipe.kind === 'fixed' ? recipe.recipe.output : undefined;
  const graph = await loadPictureGraph(source, { modelPath, colours: recipe, size: fixed });
  const output = mainOutput(graph.session.outputs, spec.output, usual);
  return {
    modelPath,
    output,
    executionProvider: graph.session.executionProvider,
    maxBatchSize: graph.maxBatchSize,
    async read(body) {
      const own = await pictureSizeOf(body);
      if (own.widthPx * own.heightPx > MAX_MAP_PX)
        throw new AppError(
          'IMAGE_TOO_LARGE',
          `the picture has over ${MAX_MAP_PX / 1e6} megapixels, the limit where a map of it is made`,
        );
      if (recipe.kind === 'fixed')
        return { pixels: await readPicture(body, recipe.recipe), size: recipe.recipe.output, source: own };
      const size = recipe.sizeFor(own);
      if (size.widthPx * size.heightPx > MAX_FED_PX)
        throw new AppError(
          'IMAGE_TOO_LARGE',
          `the model would be given ${size.widthPx} x ${size.heightPx}; the limit is ${MAX_FED_PX / 1e6} megapixels`,
        );
      const { pixels } = await readScaledPicture(body, recipe.kernel, () => size);
      return { pixels, size, source: own };
    },
    shapeKey: ({ size }) => `${size.heightPx}x${size.widthPx}`,
    async run(pictures) {
      const [first] = pictures;
      if (first === undefined) return [];
      const made = await graph.run(
        pictures.map(({ pixels }) => pixels),
        first.size,
        [output],
      );
      const map = floatsOf(made, output);
      if (map.dims[0] !== pictures.length)
        throw new AppError('MODEL_INVALID', `the graph gives [${map.dims}] for ${pictures.length} pictures`);
      return pictures.map((_, index) => rowOf(map, index));
    },
    blank() {
      const size =
        recipe.kind === 'fixed'
          ? recipe.recipe.output
          : recipe.sizeFor({ widthPx: TRIAL_PX, heightPx: TRIAL_PX });
      return { pixels: new Uint8Array(3 * size.widthPx * size.heightPx), size, source: size };
    },
  };
}
