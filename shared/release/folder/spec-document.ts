/** Changes a model folder's outrider.json, leaving every field it isn't told about as it stands. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../runtime/atomic-file.ts';
import { SPEC_FILE } from './model-folder.ts';
import { modelSpec } from './model-spec.ts';

type Document = Record<string, unknown>;

/** @throws ZodError when the change gives a document that no runner would load */
export async function changeSpec(folder: string, change: (document: Document) => Document): Promise<void> {
  const path = join(folder, SPEC_FILE);
  const changed = change(JSON.parse(await readFile(path, 'utf8')) as Document);
  modelSpec.parse(changed);
  await writeFileAtomic(path, `${JSON.stringify(changed, null, 2)}\n`);
}
