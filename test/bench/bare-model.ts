/** A model without Outrider: sharp and ONNX Runtime in one process, as a script has them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import sharp from 'sharp';
import { z } from 'zod';

const config = z.object({ id2label: z.record(z.string(), z.string()) });
const size = z.object({ width: z.int(), height: z.int() });
const preprocessor = z.object({
  size: z.union([size, z.object({ shortest_edge: z.int() })]),
  crop_size: size.optional(),
  resample: z.int(),
  rescale_factor: z.number(),
  image_mean: z.array(z.number()).optional(),
  image_std: z.array(z.number()).optional(),
});

/** Answers one picture: an encoded one, or u8[H,W,3] RGB of this size. */
export type Classify = (
  picture: Uint8Array,
  raw?: { readonly width: number; readonly height: number },
) => Promise<{ label: string; score: number }[]>;

/** What each session here is told: one run at a time, and no core kept busy between two. */
export const sessionOptions = (threads: number): ort.InferenceSession.SessionOptions => ({
  executionProviders: ['cpu'],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
});

/** Opens a model folder of image classification. */
export async function loadBare(folder: string, model: string, threads: number): Promise<Classify> {
  const read = async <T>(name: string, schema: z.ZodType<T>): Promise<T> =>
    schema.parse(JSON.parse(await readFile(join(folder, name), 'utf8')));
  const { id2label } = await read('config.json', config);
  const recipe = await read('preprocessor_config.json', preprocessor);
  const { width, height } = 'width' in recipe.size ? recipe.size : size.parse(recipe.crop_size);
  const fit = 'width' in recipe.size ? 'fill' : 'cover';
  const kernel = recipe.resample === 3 ? 'cubic' : 'linear';
  const { rescale_factor: rescale, image_mean: mean = [0, 0, 0], image_std: std = [1, 1, 1] } = recipe;
  sharp.concurrency(1);
  sharp.cache(false);
  const session = await ort.InferenceSession.create(join(folder, model), sessionOptions(threads));
  const [input = ''] = session.inputNames;
  const [output = ''] = session.outputNames;

  return async (picture, raw) => {
    const pixels = await sharp(picture, raw && { raw: { ...raw, channels: 3 } })
      .autoOrient()
      .resize(width, height, { fit, kernel })
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .raw()
      .toBuffer();
    const area = width * height;
    const values = new Float32Array(3 * area);
    for (let plane = 0; plane < 3; plane++) {
      const factor = rescale / (std[plane] ?? 1);
      const offset = (mean[plane] ?? 0) / (std[plane] ?? 1);
      for (let at = 0; at < area; at++)
        values[plane * area + at] = (pixels[3 * at + plane] ?? 0) * factor - offset;
    }
    const tensor = new ort.Tensor('float32', values, [1, 3, height, width]);
    const outputs = await session.run({ [input]: tensor });
    const logits = Array.from((outputs[output]?.data ?? []) as Float32Array);
    const largest = Math.max(...logits);
    const powers = logits.map((logit) => Math.exp(logit - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers
      .map((power, index) => ({ label: id2label[index] ?? '', score: power / sum }))
      .sort((a, b) => b.score - a.score)
      .slice(0, 5);
  };
}
