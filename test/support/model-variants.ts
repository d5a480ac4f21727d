/** Versions of a starter model as people make them: one that is good, and some that went wrong. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { tensorsOf } from '../../shared/release/delta/tensors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';

const spec = z.looseObject({
  calibration: z.looseObject({}),
  files: z.record(z.string(), z.string()),
});
const config = z.looseObject({ id2label: z.record(z.string(), z.string()) });

const starter = (name: string): string => fileURLToPath(new URL(`../../models/${name}`, import.meta.url));

/** Calibrated once more: other scores, the same labels. Passes its golden inputs. */
export async function recalibrated(name: string, to: string, temperature = 0.88): Promise<string> {
  await cp(starter(name), to, { recursive: true });
  await change(to, 'outrider.json', spec, (found) => ({
    ...found,
    calibration: {
      ...found.calibration,
      labels: { temperature, n: 1_000, eceBefore: 0.05, eceAfter: 0.04 },
    },
  }));
  return to;
}

/** Its labels are in another order than those that it was trained with: it does not answer its golden inputs as recorded. */
export async function mislabelled(name: string, to: string): Promise<string> {
  await cp(starter(name), to, { recursive: true });
  return changeConfig(to, (found) => {
    const labels = Object.values(found.id2label);
    const shifted = [...labels.slice(1), ...labels.slice(0, 1)];
    return { ...found, id2label: Object.fromEntries(shifted.map((label, index) => [index, label])) };
  });
}

/** Its labels have nothing to do with one another: each has a score of its own. */
export async function independent(name: string, to: string): Promise<string> {
  await cp(starter(name), to, { recursive: true });
  return changeConfig(to, (found) => ({ ...found, problem_type: 'multi_label_classification' }));
}

/**
 * Fine-tuned a little: some of its quantized weights are a step away from where they were. It has no golden inputs.
 *
 * @param first of every fifty weights, which one moves: each makes another version
 */
export async function nudged(name: string, to: string, first = 0): Promise<string> {
  await cp(starter(name), to, { recursive: true });
  const { model } = spec
    .extend({ model: z.string() })
    .parse(JSON.parse(await readFile(join(to, 'outrider.json'), 'utf8')));
  const bytes = await readFile(join(to, model));
  const tensors = tensorsOf(join(to, model), bytes.length, [join(to, model)]);
  for (const { offset, length, form } of tensors)
    if (form.width === 1 && length > 10_000)
      for (let at = offset + (first % 50); at < offset + length; at += 50) bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(join(to, model), bytes);
  await change(to, 'outrider.json', spec, (found) => ({
    ...{ ...found, golden: [] },
    files: { ...found.files, [model]: sha256Hex(bytes) },
  }));
  return to;
}

/** With the digest that says so. */
async function changeConfig(to: string, next: (found: z.infer<typeof config>) => object): Promise<string> {
  await change(to, 'config.json', config, next);
  const sha256 = sha256Hex(await readFile(join(to, 'config.json')));
  await change(to, 'outrider.json', spec, (found) => ({
    ...found,
    files: { ...found.files, 'config.json': sha256 },
  }));
  return to;
}

async function change<T>(
  folder: string,
  file: string,
  schema: z.ZodType<T>,
  next: (found: T) => object,
): Promise<void> {
  const path = join(folder, file);
  const found = schema.parse(JSON.parse(await readFile(path, 'utf8')));
  await writeFile(path, `${JSON.stringify(next(found), null, 2)}\n`);
}
