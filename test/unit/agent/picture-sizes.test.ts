import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../../agent/config.ts';
import { PictureSizes } from '../../../agent/wiring/picture-sizes.ts';
import type { Desired } from '../../../shared/contract/messages.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { temporaryFolder } from '../../support/fixed.ts';

const SHA = 'a'.repeat(64);
const wanted: Desired = {
  version: 1,
  models: [],
  cloudModels: [
    {
      model: { name: 'efficientnet-lite2', version: '1', digest: SHA },
      task: 'image-classification',
      picture: { resize: { kind: 'shortest', edgePx: 292 }, kernel: 'cubic' },
    },
  ],
};

test('pictures cover what edge and cloud model take; whatever is not known, or kept by somebody, is left open', async (t) => {
  const path = join(await temporaryFolder(t), 'outrider.yaml');
  await writeFile(
    path,
    `
pipelines:
  - { name: alone, task: image-classification, edge: efficientnet-lite0 }
  - { name: pair, task: image-classification, edge: efficientnet-lite0, cloud: efficientnet-lite2 }
  - { name: small, task: image-classification, edge: cifar10-cnn }
  - { name: cloud, task: image-classification, cloud: efficientnet-lite2 }
  - { name: shown, task: image-classification, edge: efficientnet-lite0, sinks: [{ type: snapshots, path: x }] }
  - { name: shared, task: image-classification, edge: efficientnet-lite0, share: inputs }
`,
  );
  const config = await loadConfig(['--config', path]);
  assert.notEqual(config, 'help');
  const sizes = new PictureSizes();
  const sizeOf = (name: string, desired: Desired | null = wanted): number | undefined => {
    const pipeline = config === 'help' ? undefined : config.pipelines.find((one) => one.name === name);
    return sizes.of(pipeline ?? assert.fail(name), desired ?? undefined)?.heightPx;
  };
  assert.equal(sizeOf('alone'), undefined, 'no version of it has been seen');
  for (const name of ['efficientnet-lite0', 'cifar10-cnn']) {
    const folder = await openModelFolder(`models/${name}`);
    await sizes.edgeModelSeen({ ref: { name, version: '1', digest: folder.digest }, folder });
  }
  assert.deepEqual([sizeOf('alone'), sizeOf('pair'), sizeOf('small')], [256, 292, 32]);
  assert.equal(sizeOf('pair', null), undefined, 'the hub has not said it yet');
  assert.deepEqual([sizeOf('cloud'), sizeOf('shown'), sizeOf('shared')], [undefined, undefined, undefined]);
});
