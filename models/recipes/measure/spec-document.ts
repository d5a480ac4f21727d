/** Changes a model folder's outrider.json, leaving every field it isn't told about as it stands. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SPEC_FILE } from '../../../shared/release/model-folder.ts';
import { modelSpec } from '../../../shared/release/model-spec.ts';
import { writeFileAtomic } from '../../../shared/runtime/atomic-file.ts';

type Document = Record<string, unknown>;

/** @throws ZodError when the change gives a document that no runner would load */
export async function changeSpec(folder: string, change: (document: Document) => Document): Promise<void> {
  const path = join(folder, SPEC_FILE);
  const changed = change(JSON.parse(await readFile(path, 'utf8')) as Document);
  modelSpec.parse(changed);
  await writeFileAtomic(path, `${JSON.stringify(changed, null, 2)}\n`);
}
