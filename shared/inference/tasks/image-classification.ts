/** `image-classification`: a picture to labels with scores. */
import { join } from 'node:path';
import { classifierConfig, readModelJson } from '../../release/folder/model-files.ts';
import { pictureRecipe, preprocessorConfig } from '../../release/folder/picture-recipe.ts';
import { graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import type { ClassificationParameters } from '../../tasks/forms/labels.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { answerEach } from '../graph/finite.ts';
import { seenEnd } from '../graph/seen-end.ts';
import { ClassificationHead, parametersOf } from '../labels/classification-head.ts';
import { readPicture } from '../picture/image.ts';
import { loadPictureGraph } from '../picture/picture-graph.ts';
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
  const recipe = pictureRecipe(await readModelJson(folder, 'preprocessor_config.json', preprocessorConfig));
  const modelPath = join(folder, spec.model);
  const graph = await loadPictureGraph(source, { modelPath, colours: recipe, size: recipe.output });
  const { session } = graph;
  const output = mainOutput(session.outputs, spec.output);
  const { widthPx, heightPx } = recipe.output;
  /** f32[N,C] of pictures u8[H,W,3] each. */
  const logitsOfAll = async (pictures: readonly Uint8Array[]): Promise<Floats> => {
    const logits = floatsOf(await graph.run(pictures, recipe.output, [output]), output);
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
    maxBatchSize: graph.maxBatchSize,
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
