/** A picture leaves a device without where and by whom it was taken, also where no runner encodes it again: over a real agent, by its outbox. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { startAgent } from '../../support/agent-program.ts';
import { temporaryFolder } from '../../support/fixed.ts';

const MODELS = fileURLToPath(new URL('../../fixtures/models', import.meta.url));
const CAT = fileURLToPath(new URL('../../../models/demo/pictures/cat-0230.jpg', import.meta.url));

for (const model of ['', 'edge: colours\n    original: true\n    '])
  test(`what a camera writes about itself never reaches the outbox${model === '' ? '' : ', nor beside a local model'}`, async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(
      join(folder, 'outrider.yaml'),
      `device: gate-01
pipelines:
  - name: gate
    task: image-classification
    ${model}cloud: big
    route: { always: cloud, deadline: 100ms, whenOffline: both }
`,
    );
    const { url } = await startAgent(t, folder, MODELS);
    const picture = await sharp(CAT)
      .withExif({ IFD0: { Make: 'SECRETCAM' }, IFD3: { GPSLatitude: '52/1 30/1 12/1', GPSLatitudeRef: 'N' } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    assert.ok(picture.includes('SECRETCAM'));
    const answer = await fetch(`${url}/v1/infer/gate`, {
      method: 'POST',
      body: new Uint8Array(picture),
    });
    const { id } = (await answer.json()) as { id: string };
    const log = join(folder, 'data/agent/outbox/log');
    const kept = Buffer.concat(
      await Promise.all((await readdir(log)).map((name) => readFile(join(log, name)))),
    );
    assert.ok(kept.includes(id));
    assert.ok(!kept.includes('SECRETCAM'));
    const sent = Buffer.from(await (await fetch(`${url}/v1/outbox/${id}/input`)).arrayBuffer());
    const { orientation, exif } = await sharp(sent).metadata();
    assert.equal(orientation, 6);
    assert.ok((exif?.length ?? 0) < 64);
    const seen = (body: Buffer): Promise<Buffer> => sharp(body).autoOrient().raw().toBuffer();
    assert.deepEqual(await seen(sent), await seen(picture));
  });
