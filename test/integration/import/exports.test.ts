/** Every architecture that is here, as Python exported it and without our file: what the import tells of it is what we know of it. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { folderSource } from '../../../cli/import/folder-source.ts';
import { stageModel } from '../../../cli/import/stage-model.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { type ImportOptions, importModel } from '../../../shared/release/import/import-model.ts';
import { temporaryFolder } from '../../support/fixed.ts';

const fixture = (path: string): string => fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url));

async function foldersIn(kind: string): Promise<string[]> {
  const names = await readdir(fixture(kind));
  return names
    .map((name) => fixture(join(kind, name)))
    .filter((folder) => existsSync(join(folder, 'outrider.json')));
}

/** A copy without our file. */
async function foreign(t: TestContext, folder: string): Promise<string> {
  const copy = join(await temporaryFolder(t), 'exported');
  await cp(folder, copy, { recursive: true });
  await rm(join(copy, 'outrider.json'));
  return copy;
}

const importing = (folder: string): ImportOptions => ({
  folder,
  maxBytes: 1e9,
  onTotal: () => undefined,
  onBytes: () => undefined,
});

for (const kind of ['reference', 'generation'])
  test(`${kind}: task, graphs and precision are told as they are`, async (t) => {
    const folders = await foldersIn(kind);
    assert.ok(folders.length >= 6);
    for (const folder of folders) {
      const { spec: known } = await openModelFolder(folder);
      // What these graphs are, nothing in their folders says.
      if (known.task === 'tensor') continue;
      const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
      const [architecture = ''] = config.architectures ?? [];
      const isTold =
        /^(Bert|Roberta|XLM|Detr|RTDetr)/i.test(architecture) ||
        /^(marian|gpt2|whisper|vision-)/.test(config.model_type);
      const { folder: made } = await importModel(await folderSource(await foreign(t, folder)), {
        ...importing(await temporaryFolder(t)),
        task: isTold && known.task !== 'zero-shot-classification' ? undefined : known.task,
        family: known.detector?.family,
      });
      const { task, model, graphs, precision, detector, foldDequantize } = made.spec;
      assert.deepEqual(
        { task, model, graphs, precision, detector, foldDequantize },
        {
          ...{ task: known.task, model: known.model, graphs: known.graphs, precision: known.precision },
          ...{ detector: known.detector ?? detector, foldDequantize: known.foldDequantize },
        },
        folder,
      );
    }
  });

test('a bare detector of somebody’s is described by three words, and finds what it finds in its folder', async (t) => {
  const folder = fixture('reference/yolox');
  const work = await temporaryFolder(t);
  const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
  await writeFile(join(work, 'labels.json'), JSON.stringify(config));
  await cp(join(folder, 'onnx/model.onnx'), join(work, 'detector.onnx'));
  const { imported, card } = await stageModel(join(work, 'detector.onnx'), join(work, 'stage'), {
    task: 'object-detection',
    family: 'yolox',
    labels: join(work, 'labels.json'),
    isShown: false,
  });
  assert.deepEqual(imported.folder.spec.detector, { family: 'yolox' });
  assert.equal(imported.folder.spec.name, 'detector');
  assert.equal(card.test, 'smoke');
});

test('a model with an encoder and a decoder translates after its import', async (t) => {
  const from = await foreign(t, fixture('generation/marian'));
  const work = await temporaryFolder(t);
  const { imported, card } = await stageModel(from, join(work, 'stage'), { isShown: false });
  assert.equal(imported.folder.spec.task, 'translation');
  assert.deepEqual(imported.folder.spec.graphs, ['onnx/decoder_model_merged.onnx']);
  assert.ok(imported.notes.includes('runs in the hub alone'));
  assert.equal(card.maxBatchSize, 1);
});
