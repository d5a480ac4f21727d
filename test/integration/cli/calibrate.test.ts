/** `outrider models calibrate` as a user runs it, on copies of the starter models and examples made of the demo’s inputs. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { selfTest } from '../../../shared/inference/proof/self-test.ts';
import { withRunner } from '../../../shared/inference/runner/with-runner.ts';
import { openModelFolder, SPEC_FILE } from '../../../shared/release/folder/model-folder.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { independent, recalibrated } from '../../support/model-variants.ts';
import { outrider } from '../../support/programs.ts';

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url));
/** Of a calibration error over so few examples. */
const NOISE = 0.02;

const report = z.strictObject({
  model: z.string(),
  temperatureBefore: z.number(),
  temperature: z.number(),
  n: z.number(),
  accuracy: z.number(),
  eceBefore: z.number(),
  eceAfter: z.number(),
  measuredOn: z.enum(['half', 'all']),
  measured: z.number(),
  outcome: z.enum(['written', 'same', 'no-better', 'dry-run']),
  goldenOutputs: z.number(),
  digestBefore: z.string(),
  digest: z.string(),
  notes: z.array(z.string()),
});

/** Runs to the end. */
async function calibrate(
  t: TestContext,
  ...args: string[]
): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, ['models', 'calibrate', ...args]);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

async function calibrateAsJson(t: TestContext, ...args: string[]): Promise<z.infer<typeof report>> {
  const { code, output } = await calibrate(t, ...args, '--json');
  assert.equal(code, 0, output);
  return report.parse(JSON.parse(output));
}

const specOf = (folder: string): Promise<string> => readFile(join(folder, SPEC_FILE), 'utf8');

/** `cat-0123.jpg` of the demo as `cat/cat-0123.jpg`. */
async function pictures(folder: string): Promise<string> {
  for (const name of await readdir(join(DEMO, 'pictures'))) {
    const label = name.split('-')[0] ?? '';
    await mkdir(join(folder, label), { recursive: true });
    await copyFile(join(DEMO, 'pictures', name), join(folder, label, name));
  }
  return folder;
}

/** The demo’s sentences praise and damn in turn; several times over, where half is to be kept apart. */
async function sentences(file: string, times: number): Promise<string> {
  const texts = (await readFile(join(DEMO, 'sentences.txt'), 'utf8')).trim().split('\n');
  const lines = texts.map((text, index) =>
    JSON.stringify({ text, label: index % 2 === 0 ? 'POSITIVE' : 'NEGATIVE' }),
  );
  await writeFile(file, Array.from({ length: times }, () => lines.join('\n')).join('\n'));
  return file;
}

test('writes temperature and golden outputs of a picture model, once', async (t) => {
  const root = await temporaryFolder(t);
  // Surer than it should be, and not so far from its golden outputs that its self-test fails.
  const folder = await recalibrated('cifar10-cnn', join(root, 'model'), 0.8);
  const set = await pictures(join(root, 'set'));
  await writeFile(join(set, 'cat', 'torn.jpg'), 'no picture');
  const before = await specOf(folder);

  const dry = await calibrateAsJson(t, folder, set, '--dry-run');
  assert.equal(dry.outcome, 'dry-run');
  assert.equal(await specOf(folder), before);

  const { code, output } = await calibrate(t, folder, set, '--force');
  assert.equal(code, 0, output);
  for (const said of [
    /accuracy +(\d+\.\d) % +\1 %/,
    /flatters it/,
    /1 could not be answered and do not count: cat\/torn\.jpg: /,
    /6 golden outputs.* answered anew/,
    /promise of agreement is not touched/,
    /outrider models push /,
  ])
    assert.match(output, said);

  const opened = await openModelFolder(folder);
  const { temperature, n, eceBefore, eceAfter } = dry;
  assert.deepEqual(opened.spec.calibration.labels, { temperature, n, eceBefore, eceAfter });
  assert.equal(n, 100);
  assert.ok(eceAfter <= eceBefore + NOISE, `${eceBefore} -> ${eceAfter}`);
  assert.notEqual(opened.digest, dry.digestBefore);
  assert.ok(output.includes(opened.digest.slice(0, 12)));
  await withRunner(opened, (runner) => selfTest(runner, opened));

  const [was, is] = [before, await specOf(folder)].map(
    (text) => JSON.parse(text) as { calibration: { cloud: unknown }; golden: { input: unknown }[] },
  );
  assert.deepEqual(Object.keys(is ?? {}), Object.keys(was ?? {}), 'the order of its keys');
  assert.deepEqual(is?.calibration.cloud, was?.calibration.cloud);
  assert.deepEqual(
    is?.golden.map(({ input }) => input),
    was?.golden.map(({ input }) => input),
  );
  assert.notDeepEqual(is?.golden, was?.golden);

  const written = await specOf(folder);
  const again = await calibrateAsJson(t, folder, set);
  assert.equal(again.outcome, 'same');
  assert.equal(again.eceBefore, again.eceAfter);
  assert.equal(await specOf(folder), written);
});

test('measures a text model on the half that it was not fitted on', async (t) => {
  const root = await temporaryFolder(t);
  const folder = await recalibrated('sst2-lstm', join(root, 'model'), 0.9934);
  const found = await calibrateAsJson(t, folder, await sentences(join(root, 'set.jsonl'), 4));
  assert.deepEqual([found.n, found.measured, found.measuredOn], [240, 120, 'half']);
  assert.equal(found.outcome, 'written');
  assert.ok(found.eceAfter <= found.eceBefore + NOISE, `${found.eceBefore} -> ${found.eceAfter}`);
  const opened = await openModelFolder(folder);
  assert.equal(opened.digest, found.digest);
  assert.equal(opened.spec.calibration.labels?.temperature, found.temperature);
  await withRunner(opened, (runner) => selfTest(runner, opened));
});

test('refuses a set that says too little, and a model that does not answer as recorded: nothing is written', async (t) => {
  const root = await temporaryFolder(t);
  const folder = await recalibrated('sst2-lstm', join(root, 'model'), 0.9934);
  const sick = await recalibrated('sst2-lstm', join(root, 'sick'), 9);
  const many = await independent('sst2-lstm', join(root, 'many'));
  const set = await sentences(join(root, 'set.jsonl'), 1);
  const lines = (await readFile(set, 'utf8')).split('\n');
  await writeFile(join(root, 'few.jsonl'), lines.slice(0, 49).join('\n'));
  await writeFile(
    join(root, 'one.jsonl'),
    [...lines, ...lines].filter((line) => line.includes('POS')).join('\n'),
  );
  const before = [await specOf(folder), await specOf(sick)];
  const cases: [string, string, RegExp][] = [
    [folder, 'few.jsonl', /49 examples are too few.*\(BAD_REQUEST\)\n$/],
    [folder, 'one.jsonl', /of one label.*\(BAD_REQUEST\)\n$/],
    [sick, 'set.jsonl', /golden input .*\(MODEL_SELF_TEST_FAILED\)\n$/],
    [many, 'set.jsonl', /independent labels.*\(BAD_REQUEST\)\n$/],
    [root, 'set.jsonl', /has no outrider\.json \(MODEL_INVALID\)\n$/],
  ];
  for (const [model, name, said] of cases) {
    const { code, output } = await calibrate(t, model, join(root, name));
    assert.equal(code, 1, output);
    assert.match(output, said);
  }
  assert.deepEqual([await specOf(folder), await specOf(sick)], before);
});
