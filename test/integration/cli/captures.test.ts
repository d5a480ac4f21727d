/** The circle as an operator types it: a real device shares what it asks, a real hub keeps it, exports it, trains on it, erases it. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { z } from 'zod';
import { captureDetail, captureRecord, captureSummary } from '../../../shared/contract/captures.ts';
import { trainingRecord } from '../../../shared/contract/trainings.ts';
import { startAgent } from '../../support/agent-program.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { eventually, outrider } from '../../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../fixtures/models', import.meta.url));
const TRAINER = fileURLToPath(new URL('../../support/trainer.mjs', import.meta.url));
const listed = z.object({ captures: z.array(captureRecord), summary: captureSummary });

/** A scene of stripes and a gradient. */
const scene = (phase: number): Promise<Buffer> => {
  const pixels = Buffer.alloc(64 * 64 * 3);
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [Math.floor(i / 3) % 64, Math.floor(i / 192)];
    pixels[i] = 128 + 80 * Math.sin(x / 6 + phase) * Math.cos(y / 9 + 2 * phase);
  }
  return sharp(pixels, { raw: { width: 64, height: 64, channels: 3 } })
    .png()
    .toBuffer();
};

test('from a device’s question to a better version, and to nothing left of it', async (t) => {
  const hub = await startHubProgram(t, { args: ['--trainer', `'${process.execPath}' '${TRAINER}' works`] });
  const folder = await temporaryFolder(t);
  const at = ['--hub', hub.url, '--key', hub.key];
  const type = async (...args: string[]) => {
    const program = outrider(t, [...args, ...at]);
    const { code } = await program.exited;
    return { code, output: program.output() };
  };
  const typed = async <T>(schema: z.ZodType<T>, ...args: string[]): Promise<T> => {
    const { code, output } = await type(...args, '--json');
    assert.equal(code, 0, output);
    return schema.parse(JSON.parse(output));
  };
  await type('devices', 'enroll', 'gate-01', '--to', join(folder, 'data'));
  const pipelines = [
    { name: 'reviews', task: 'text-classification', edge: 'words', cloud: 'words', share: 'inputs' },
    { name: 'eyes', task: 'image-classification', edge: 'colours', cloud: 'colours', share: 'inputs' },
    { name: 'private', task: 'text-classification', edge: 'words', cloud: 'words', share: 'results' },
  ].map((one) => ({ ...one, route: { start: 'learn', deadline: '30s' } }));
  await writeFile(
    join(folder, 'outrider.yaml'),
    JSON.stringify({ device: 'gate-01', hub: { url: hub.url }, pipelines }),
  );
  const { url } = await startAgent(t, folder, MODELS);
  const ask = async (pipeline: string, contentType: string, body: string | Uint8Array<ArrayBuffer>) => {
    const headers = { 'content-type': contentType };
    const answered = await fetch(`${url}/v1/infer/${pipeline}`, { method: 'POST', headers, body });
    const result = z.looseObject({ source: z.string() }).parse(await answered.json());
    assert.equal(result.source, 'cloud', JSON.stringify(result));
  };
  const isLinked = async () => /"online": true/.test((await type('devices', 'ls', '--json')).output);
  await eventually(isLinked, 'the device has no link');
  for (const text of ['good', 'bad', 'good bad good', 'Good, bad: GOOD!'])
    await ask('reviews', 'text/plain', text);
  await ask('private', 'text/plain', 'a secret');
  const picture = await scene(0);
  const again = await sharp(picture).jpeg({ quality: 92 }).toBuffer();
  const others = await scene(2.5);
  for (const body of [picture, again, others]) await ask('eyes', 'image/png', new Uint8Array(body));

  const ls = (...args: string[]) => typed(listed, 'captures', 'ls', ...args);
  await eventually(async () => (await ls()).captures.length === 5, 'not all of it is kept');
  const { captures, summary } = await ls();
  assert.deepEqual(
    summary.pipelines.map(({ pipeline, kept }) => [pipeline, kept]),
    [
      ['eyes', 2],
      ['reviews', 3],
    ],
  );
  assert.deepEqual(summary.dropped, { 'near-duplicate': 2 }, 'a text with commas, a picture encoded again');
  const [one = assert.fail()] = captures.filter(({ pipeline }) => pipeline === 'reviews');
  assert.deepEqual([one.edge.model?.name, one.why, one.probability, one.loss], ['words', 'learning', 1, 0]);
  const shown = await typed(captureDetail, 'captures', 'show', one.id, '--out', join(folder, 'input.txt'));
  assert.ok(Array.isArray(shown.answers.edge) && Array.isArray(shown.answers.cloud));
  assert.equal(await readFile(join(folder, 'input.txt'), 'utf8'), 'good bad good');
  assert.match((await type('captures', 'ls', '--pipeline', 'eyes')).output, /2 captures/);

  const out = join(folder, 'reviews');
  const exported = await type('captures', 'export', out, '--model', 'words');
  assert.equal(exported.code, 0, exported.output);
  assert.deepEqual((await readdir(out)).includes('dataset.json'), true);
  assert.match((await type('captures', 'export', out, '--model', 'words')).output, /CONFLICT/);
  const pictures = join(folder, 'eyes');
  await mkdir(pictures);
  assert.equal(
    (await type('captures', 'export', pictures, '--pipeline', 'eyes', '--split', 'all=1')).code,
    0,
  );
  assert.equal(
    (await readdir(join(pictures, 'all'), { recursive: true })).filter((name) => name.endsWith('.png'))
      .length,
    2,
  );

  assert.match((await type('captures', 'train', 'words')).output, /there are 3 captures.*CONFLICT/);
  const train = ['captures', 'train', 'words', '--min-captures', '3', '--wait', '60'];
  const training = await type(...train);
  assert.equal(training.code, 0, training.output);
  assert.match(training.output, /done, 3 captures, version 2, rollout/);
  const [trained = assert.fail()] = (
    await typed(z.object({ trainings: z.array(trainingRecord) }), 'captures', 'train')
  ).trainings;
  assert.match((await type('captures', 'train', '--show', trained.id)).output, /learns from 3 rows/);
  assert.match((await type('rollout', 'ls')).output, /words@2/);
  const looked = await type('doctor', '--agent', url, '--models', join(folder, 'none'));
  assert.match(looked.output, /^captures +ok +5 kept/m);

  await writeFile(join(folder, 'photo.jpg'), again);
  const shownPhoto = await type('captures', 'rm', '--input', join(folder, 'photo.jpg'), '--dry-run');
  assert.match(shownPhoto.output, /eyes/);
  assert.match(
    (await type('captures', 'rm', '--input', join(folder, 'photo.jpg'))).output,
    /^1 captures are erased/m,
  );
  assert.match((await type('captures', 'rm')).output, /USAGE/);
  assert.match(
    (await type('captures', 'rm', '--pipeline', 'eyes', '--dry-run')).output,
    /^1 captures .* would be erased/m,
  );
  assert.match((await type('captures', 'rm', '--pipeline', 'eyes')).output, /^1 captures .* are erased/m);
  const revoked = await type('devices', 'revoke', 'gate-01');
  assert.match(revoked.output, /keeps 3 captures of it: outrider captures rm --device gate-01/);
  assert.match((await type('captures', 'rm', '--device', 'gate-01')).output, /^3 captures/m);
  assert.equal((await ls()).summary.kept, 0);
  const left = await readdir(join(hub.folder, 'captures', 'inputs'), {
    recursive: true,
    withFileTypes: true,
  });
  assert.deepEqual(
    left.filter((entry) => entry.isFile()),
    [],
  );
});
