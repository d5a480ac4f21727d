/** `outrider infer <model> <file|text>`: asks the hub for one answer. */
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { modelList } from '../../contract/admin.ts';
import { modelName } from '../../contract/names.ts';
import { classification } from '../../contract/task-schemas.ts';
import { TASKS } from '../../contract/tasks.ts';
import { AppError } from '../../runtime/errors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { print, table } from '../output.ts';

/** @throws MODEL_UNKNOWN, FILE_UNREADABLE, INPUT_KIND_WRONG, and what the hub says */
export async function infer(
  model: string,
  input: string,
  options: HubOptions & { readonly json?: boolean },
): Promise<void> {
  if (!modelName.safeParse(model).success) throw new AppError('MODEL_UNKNOWN', `“${model}” is no model name`);
  const hub = await HubClient.find(options);
  const { models } = await hub.get('/api/v1/models', modelList);
  const known = models.find(({ name }) => name === model);
  if (!known)
    throw new AppError(
      'MODEL_UNKNOWN',
      `the hub has no model ${model}; it has: ${models.map(({ name }) => name).join(', ')}`,
    );
  const wantsImage = TASKS[known.task].inputKind === 'image';
  const bytes = await fileBytes(input);
  if (wantsImage && !bytes)
    throw new AppError('FILE_UNREADABLE', `${model} takes pictures, and there is no file ${input}`);
  // Files travel as they are, so that the hub sees what they are; a text from the command line may look like JSON.
  const output = bytes
    ? await hub.infer(model, bytes, 'application/octet-stream', z.unknown())
    : await hub.infer(model, Buffer.from(JSON.stringify({ inputs: input })), 'application/json', z.unknown());
  const labels = z
    .array(classification)
    .safeParse(Array.isArray(output) && Array.isArray(output[0]) ? output[0] : output);
  print(options.json, output, () =>
    labels.success
      ? table(
          ['label', 'score'],
          labels.data.map(({ label, score }) => [label, score.toFixed(4)]),
        )
      : JSON.stringify(output, null, 2),
  );
}

/** A path to an existing file, or undefined: then it is the text itself. */
async function fileBytes(input: string): Promise<Buffer | undefined> {
  const found = await stat(input).catch(() => undefined);
  return found?.isFile() ? readFile(input) : undefined;
}
