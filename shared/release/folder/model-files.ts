/** Reads the small JSON files of a model folder, each through its schema; a failure names the file and the field. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type ZodType, z } from 'zod';
import { AppError, isAppError, systemCode } from '../../runtime/errors.ts';
import { parsePythonJson } from '../../runtime/json.ts';

/** Part of Hugging Face's `config.json` that we read for any model of texts. */
export const textConfig = z.object({
  model_type: z.string().optional(),
  max_position_embeddings: z.int().positive().nullish(),
  pad_token_id: z.int().min(0).nullish(),
});
export type TextConfig = z.infer<typeof textConfig>;

/**
 * Labels by the index of their logit. transformers writes an object of texts; others have written a list, and numbers or truth values as
 * labels.
 */
export const id2label = z.preprocess(
  (given: unknown) => (Array.isArray(given) ? Object.fromEntries(given.entries()) : given),
  z.record(z.string(), z.union([z.string(), z.number().transform(String), z.boolean().transform(String)])),
);

/** And for one with labels. */
export const classifierConfig = textConfig.extend({
  id2label,
  problem_type: z.string().nullish(),
});
export type ClassifierConfig = z.infer<typeof classifierConfig>;

/** @throws MODEL_INVALID */
export async function readModelJson<T>(folder: string, file: string, schema: ZodType<T>): Promise<T> {
  const where = `${basename(folder)}/${file}`;
  let json: unknown;
  try {
    json = parsePythonJson(await readFile(join(folder, file)));
  } catch (error) {
    if (isAppError(error))
      throw new AppError('MODEL_INVALID', `${where}: ${error.message}`, { cause: error });
    const why = systemCode(error) === 'ENOENT' ? 'is missing' : 'cannot be read';
    throw new AppError('MODEL_INVALID', `${where} ${why}`, { cause: error });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'top'}: ${issue.message}`);
  throw new AppError('MODEL_INVALID', `${where}: ${problems.join('; ')}`);
}

/**
 * The labels in the order of the graph's logits.
 *
 * @throws MODEL_INVALID when an index is missing
 */
export function labelsInOrder(folder: string, config: ClassifierConfig): string[] {
  const count = Object.keys(config.id2label).length;
  if (count === 0)
    throw new AppError('MODEL_INVALID', `${basename(folder)}/config.json: id2label names no label`);
  return Array.from({ length: count }, (_, index) => {
    const label = config.id2label[String(index)];
    if (label === undefined)
      throw new AppError(
        'MODEL_INVALID',
        `${basename(folder)}/config.json: id2label has no entry "${index}"`,
      );
    return label;
  });
}
