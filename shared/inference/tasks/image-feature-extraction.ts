/** `image-feature-extraction`: a picture to the numbers in which a model sees it. */
import { join } from 'node:path';
import { readModelJson } from '../../release/folder/model-files.ts';
import { pictureRecipe, preprocessorConfig } from '../../release/folder/picture-recipe.ts';
import { AppError } from '../../runtime/errors.ts';
import {
  type ImageFeatureParameters,
  imageFeatureParameters,
  MAX_IMAGE_FEATURES,
} from '../../tasks/image-feature-extraction/schema.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import { readPicture } from '../picture/image.ts';
import { loadPictureGraph } from '../picture/picture-graph.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, floatsOf, mainOutput, rowOf } from '../tensor/floats.ts';

/** Outputs that hold one vector of the picture. */
const POOLED: readonly string[] = ['pooler_output', 'image_embeds'];

interface PreparedPicture {
  /** u8[H,W,3] RGB */
  readonly pixels: Uint8Array;
  readonly output: string;
  readonly chance: number;
}

/** @throws MODEL_INVALID */
export async function loadImageFeatureExtraction(source: ModelSource): Promise<TaskModel<PreparedPicture>> {
  const { folder, spec } = source;
  const recipe = pictureRecipe(await readModelJson(folder, 'preprocessor_config.json', preprocessorConfig));
  const modelPath = join(folder, spec.model);
  const graph = await loadPictureGraph(source, { modelPath, colours: recipe, size: recipe.output });
  const { outputs } = graph.session;
  const states = statesOf(outputs, spec.output);
  const { widthPx, heightPx } = recipe.output;

  const model: TaskModel<PreparedPicture> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.session.executionProvider,
    async prepare({ body, parameters }) {
      const output = outputFor(outputs, states, imageFeatureParameters.parse(parameters ?? {}));
      return { pixels: await readPicture(body, recipe), output, chance: scoreByChance(body) };
    },
    shapeKey: ({ output }) => output,
    async run(batch) {
      const [first] = batch;
      if (!first) return [];
      const pictures = batch.map(({ pixels }) => pixels);
      const numbers = floatsOf(await graph.run(pictures, recipe.output, [first.output]), first.output);
      if (numbers.dims[0] !== batch.length)
        throw new AppError('MODEL_INVALID', `the graph gives [${numbers.dims}] for ${batch.length} pictures`);
      return answerEach(batch, ({ chance }, index) => answerOf(rowOf(numbers, index), chance));
    },
  };
  const pixels = new Uint8Array(3 * heightPx * widthPx);
  await model.run([{ pixels, output: states, chance: 0 }]);
  return model;
}

/** The output of the parts, or the only vector. */
function statesOf(outputs: readonly TensorSpec[], said: string | undefined): string {
  const isPooledAlone = said === undefined && !outputs.some(({ name }) => name === 'last_hidden_state');
  const vector = isPooledAlone ? outputs.find(({ name }) => POOLED.includes(name)) : undefined;
  return vector?.name ?? mainOutput(outputs, said, 'last_hidden_state');
}

/** @throws PARAMETERS_INVALID */
function outputFor(
  outputs: readonly TensorSpec[],
  states: string,
  { pool = false }: ImageFeatureParameters,
): string {
  if (!pool) return states;
  const pooled = outputs.find(({ name }) => POOLED.includes(name))?.name;
  if (pooled !== undefined) return pooled;
  if (outputs.find(({ name }) => name === states)?.dims.length === 2) return states;
  throw new AppError(
    'PARAMETERS_INVALID',
    `pool: the model has no pooler; it gives ${outputs.map(({ name }) => name).join(', ')}`,
  );
}

/** @throws ANSWER_TOO_LARGE, OUTPUT_NOT_FINITE */
function answerOf(numbers: Floats, chance: number): Answer {
  if (numbers.data.length > MAX_IMAGE_FEATURES)
    throw new AppError(
      'ANSWER_TOO_LARGE',
      `the answer has ${numbers.data.length} numbers, the limit is ${MAX_IMAGE_FEATURES}; ask with pool`,
    );
  requireFinite(numbers.data, 'the numbers');
  return { output: [nested(numbers)], routeScore: chance };
}

/** Arrays as the axes say. @throws MODEL_INVALID */
function nested(numbers: Floats): unknown[] {
  const [count = 0, ...inner] = numbers.dims;
  if (numbers.dims.length < 1 || numbers.dims.length > 3)
    throw new AppError('MODEL_INVALID', `the graph gives [${numbers.dims}] for a picture`);
  if (inner.length === 0) return Array.from(numbers.data);
  return Array.from({ length: count }, (_, index) => nested(rowOf(numbers, index)));
}
