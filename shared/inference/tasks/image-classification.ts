/** `image-classification`: a picture to labels with scores. */
import { join } from 'node:path';
import { classifierConfig, readModelJson } from '../../release/folder/model-files.ts';
import { type PictureLayout, pictureDims, pictureLayout } from '../../release/folder/picture-layout.ts';
import {
  type PictureRecipe,
  pictureRecipe,
  preprocessorConfig,
} from '../../release/folder/picture-recipe.ts';
import { graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import type { ClassificationParameters } from '../../tasks/forms/labels.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import type { TensorValue } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { mixesRows } from '../graph/batch-safety.ts';
import { answerEach } from '../graph/finite.ts';
import { seenEnd } from '../graph/seen-end.ts';
import { loadSession, type Session } from '../graph/session.ts';
import { ClassificationHead, parametersOf } from '../labels/classification-head.ts';
import { readPicture } from '../picture/image.ts';
import { coloursFor, pictureArray, writePlanes } from '../picture/picture-tensor.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, floatsOf, mainOutput, rowOf } from '../tensor/floats.ts';

interface PreparedPicture {
  /** u8[H,W,3] RGB: a quarter of the tensor, which is written into the batch's place at once. */
  readonly pixels: Uint8Array;
  readonly parameters: ClassificationParameters;
  readonly chance: number;
}

/** @throws MODEL_INVALID */
export async function loadImageClassification(source: ModelSource): Promise<TaskModel<PreparedPicture>> {
  const { folder, spec } = source;
  const config = await readModelJson(folder, 'config.json', classifierConfig);
  const configured = pictureRecipe(
    await readModelJson(folder, 'preprocessor_config.json', preprocessorConfig),
  );
  const modelPath = join(folder, spec.model);
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const { input, layout } = pictureInput(session, configured);
  const recipe = coloursFor(configured, layout);
  const output = mainOutput(session.outputs, spec.output);
  const isBatchSafe =
    spec.batch.safe && layout.hasBatch && input.dims[0] === null && !(await mixesRows(modelPath));
  const { widthPx, heightPx } = recipe.output;
  /** f32[N,C] of pictures u8[H,W,3] each. */
  const logitsOfAll = async (pictures: readonly Uint8Array[]): Promise<Floats> => {
    const size = layout.channels * heightPx * widthPx;
    const data = pictureArray(layout, pictures.length * size);
    for (const [index, pixels] of pictures.entries()) writePlanes(pixels, recipe, data, index * size, layout);
    const dims = pictureDims(layout, { count: pictures.length, heightPx, widthPx });
    const picture = { type: layout.type, data, dims } as TensorValue;
    const logits = floatsOf(await session.run({ [input.name]: picture }, [output]), output);
    if (logits.dims[0] === pictures.length) return logits;
    throw new AppError('MODEL_INVALID', `the graph gives [${logits.dims}] for ${pictures.length} pictures`);
  };
  const ask = async (pixels: Uint8Array): Promise<Floats> => rowOf(await logitsOfAll([pixels]), 0);
  const bytes = 3 * heightPx * widthPx;
  // The first run allocates.
  const first = await ask(new Uint8Array(bytes));
  const everyGrey = (): Promise<Floats> => ask(Uint8Array.from({ length: bytes }, (_, at) => at));
  const end = (await graphEnd(modelPath, output)) ?? (await seenEnd([async () => first, everyGrey]));
  const head = new ClassificationHead(source, config, end);

  const model: TaskModel<PreparedPicture> = {
    maxBatchSize: isBatchSafe ? spec.batch.maxSize : 1,
    executionProvider: session.executionProvider,
    async prepare(task) {
      const parameters = parametersOf(task);
      return { pixels: await readPicture(task.body, recipe), parameters, chance: scoreByChance(task.body) };
    },
    shapeKey: () => `${heightPx}x${widthPx}`,
    async run(batch) {
      const logits = await logitsOfAll(batch.map(({ pixels }) => pixels));
      return answerEach(batch, ({ parameters, chance }, index) =>
        head.answer(rowOf(logits, index), { parameters, isUnsure: false, chance }),
      );
    },
  };
  // Shows whether graph and labels fit together; what is not finite is said when somebody asks.
  answerEach([first], (row) => head.answer(row, { parameters: {}, isUnsure: false, chance: 0 }));
  return model;
}

/** The graph's one input, a picture with H and W dynamic or those of the preprocessor. @throws MODEL_INVALID */
function pictureInput(
  { inputs }: Session,
  { output }: PictureRecipe,
): { input: TensorSpec; layout: PictureLayout } {
  const [input] = inputs;
  const layout = input && pictureLayout(input);
  const fits = (dim: number | null, px: number): boolean => dim === null || dim === px;
  const isOne = (input?.dims[0] ?? 1) === 1;
  if (input && layout?.hasBatch && inputs.length === 1 && isOne)
    if (fits(layout.heightPx, output.heightPx) && fits(layout.widthPx, output.widthPx))
      return { input, layout };
  const given = inputs
    .map(({ name, type, dims }) => `${name} ${type}[${dims.map((dim) => dim ?? '?')}]`)
    .join(', ');
  throw new AppError(
    'MODEL_INVALID',
    `the graph takes ${given}; preprocessor_config.json makes a picture of ${output.widthPx} x ${output.heightPx}`,
  );
}
