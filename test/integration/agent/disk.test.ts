/** A device with a small quota: snapshots make room for requests, then new requests are refused, and it says so everywhere. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { diskStatus } from '../../../shared/contract/disk-status.ts';
import { startAgent } from '../../support/agent-program.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { eventually, outrider } from '../../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../fixtures/models', import.meta.url));

test('pictures that are kept make room for requests; at the end of the room they are refused, and doctor says why', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'outrider.yaml'),
    `device: gate-01
disk: { maxBytes: 3MB, keepFree: 1MB }
pipelines:
  - name: gate
    task: image-classification
    edge: colours
    cloud: big
    original: true
    route: { deadline: 100ms, whenOffline: both }
    sinks: [{ type: snapshots, path: snapshots/gate, annotate: false }]
`,
  );
  const { url } = await startAgent(t, folder, MODELS);
  const size = { width: 300, height: 300, channels: 3 } as const;
  // About 150 KB: noise cannot be packed.
  const picture = await sharp(randomBytes(size.width * size.height * 3), { raw: size })
    .jpeg({ quality: 90 })
    .toBuffer();
  const ask = async (route: string): Promise<Record<string, unknown>> => {
    const answer = await fetch(`${url}/v1/infer/gate?route=${route}`, {
      method: 'POST',
      body: new Uint8Array(picture),
    });
    return (await answer.json()) as Record<string, unknown>;
  };
  const disk = async () =>
    diskStatus.parse(((await (await fetch(`${url}/v1/pipelines`)).json()) as { disk: unknown }).disk);
  await eventually(async () => (await disk()).freeBytes > 0, 'the disk was never looked at');
  const snapshots = async (): Promise<number> =>
    (await readdir(join(folder, 'data/agent/snapshots/gate'), { recursive: true }).catch(() => [])).filter(
      (name) => name.endsWith('.jpg'),
    ).length;
  for (let count = 0; count < 8; count++) await ask('edge');
  await eventually(async () => (await snapshots()) === 8, 'there were no snapshots');

  const reasons: unknown[] = [];
  for (let count = 0; count < 60 && reasons.at(-1) !== 'outbox-full'; count++)
    reasons.push((await ask('cloud')).reason);
  assert.ok(reasons.length > 8, `${reasons.length} were asked`);
  assert.equal(reasons.at(-1), 'outbox-full', 'the local answer stands');
  const status = await disk();
  assert.ok((status.kinds[0]?.givenBackBytes ?? 0) > 0);
  assert.ok(status.usedBytes <= 3e6);
  // What is left of the room takes no usual request.
  await eventually(async () => {
    await ask('cloud');
    return (await fetch(`${url}/readyz`)).status === 503;
  }, 'it stayed ready');
  const { reason } = (await (await fetch(`${url}/readyz`)).json()) as { reason: string };
  assert.match(reason, /its quota is 3000000 \(disk\.maxBytes\)/);
  assert.match(await (await fetch(`${url}/metrics`)).text(), /outrider_disk_full_ratio 1/);

  const doctor = outrider(t, ['doctor', '--agent', url, '--models', await temporaryFolder(t), '--json'], {
    env: { COLUMNS: '400' },
  });
  await doctor.exited;
  const findings = (
    JSON.parse(doctor.output()) as { findings: { about: string; level: string; found: string }[] }
  ).findings;
  const found = (about: string) => findings.find((one) => one.about === about);
  assert.equal(found('disk quota')?.level, 'fail');
  assert.match(
    found('disk order')?.found ?? '',
    /^goes first: snapshots .*given back\), captures .*, logs .*, results .*, dead-letters .*, webhooks .*; then new requests are refused; stays: requests .*, state /,
  );
});
