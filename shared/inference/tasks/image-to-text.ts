/** `image-to-text`: a picture to a caption, by a picture encoder and a text decoder. */

import { readModelJson } from '../../release/folder/model-files.ts';
import { pictureRecipe, preprocessorConfig } from '../../release/folder/picture-recipe.ts';
import { captionParameters } from '../../tasks/image-to-text/schema.ts';
import { generateTokens } from '../generation/generate-tokens.ts';
import { loadGenerator } from '../generation/generation.ts';
import { readPicture } from '../picture/image.ts';
import { writePlanes } from '../picture/picture-tensor.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';

interface PreparedPicture {
  /** u8[H,W,3] RGB */
  readonly pixels: Uint8Array;
  readonly parameters: (typeof captionParameters)['_output'];
}

/** @throws MODEL_INVALID */
export async function loadImageToText(source: ModelSource): Promise<TaskModel<PreparedPicture>> {
  const generator = await loadGenerator(source, 'vision');
  const { config, tokens } = generator;
  const recipe = pictureRecipe(
    await readModelJson(source.folder, 'preprocessor_config.json', preprocessorConfig),
  );
  const { widthPx, heightPx } = recipe.output;
  const positions = config.decoder?.n_positions ?? config.decoder?.max_position_embeddings ?? undefined;

  const model: TaskModel<PreparedPicture> = {
    // One at a time, as all that generates.
    maxBatchSize: 1,
    executionProvider: generator.executionProvider,
    async prepare(input) {
      const parameters = captionParameters.parse(input.parameters ?? {});
      return { pixels: await readPicture(input.body, recipe), parameters };
    },
    shapeKey: () => 'one',
    async run(batch, control) {
      const answers = [];
      for (const { pixels, parameters } of batch) {
        const data = new Float32Array(pixels.length);
        writePlanes(pixels, recipe, data, 0);
        const { max_new_tokens } = parameters;
        const found = await generateTokens(generator, {
          encoded: await generator.read({ name: 'pixel_values', data, dims: [1, 3, heightPx, widthPx] }),
          parameters: {
            ...(max_new_tokens !== undefined && { max_new_tokens }),
            ...parameters.generation_parameters,
          },
          positions,
          control,
        });
        answers.push({
          // As Hugging Face's pipeline, which strips it.
          output: { generated_text: tokens.write(found.tokens).trim() },
          routeScore: found.meanLogprob,
        });
      }
      return answers;
    },
  };
  await model.run([
    {
      pixels: new Uint8Array(3 * heightPx * widthPx),
      parameters: { generation_parameters: { max_new_tokens: 2 } },
    },
  ]);
  return model;
}
