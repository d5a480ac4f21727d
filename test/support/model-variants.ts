/** Versions of a starter model as people make them: one that is good, and some that went wrong. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
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
