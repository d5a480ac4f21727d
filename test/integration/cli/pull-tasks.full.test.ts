/**
 * `outrider models pull`, `push` and `infer`, as a user types them, of models that rank, compare, see and hear: from folders as their
 * exporters leave them, to answers that people read.
 */
import assert from 'node:assert/strict';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';

const REFERENCE = fileURLToPath(new URL('../../fixtures/reference/', import.meta.url));
const PICTURE = join(REFERENCE, 'pictures/wide.png');
const SOUND = join(REFERENCE, 'sounds/sweep-48k-stereo.wav');

interface Asked {
  readonly task: string;
  /** What is typed behind the model's name. */
  readonly args: readonly string[];
  readonly prints: RegExp;
}

const RANKED = { query: 'Where does Sarah live?', texts: ['Paris.', 'New York.'] };
const COMPARED = { source_sentence: 'a film', sentences: ['a film', 'cats'] };
const LABELS = ['--labels', 'a cat,the weather'];
const MODELS: Readonly<Record<string, Asked>> = {
  'rank-bert': {
    task: 'text-ranking',
    args: [JSON.stringify(RANKED), '--parameters', '{"return_text": true}'],
    prints: /^index\s+score\s+text\s*\n[01]\s+0\.\d{4}\s+(Paris|New York)\./m,
  },
  'embed-mean': {
    task: 'sentence-similarity',
    args: [JSON.stringify(COMPARED)],
    prints: /^sentence\s+cosine\s*\n1\s+1\.0000\s*\n2\s+-?0\.\d{4}/m,
  },
  'vit-features': {
    task: 'image-feature-extraction',
    args: [PICTURE, '--parameters', '{"pool": true}'],
    prints: /^\[1, 24\] -?\d/m,
  },
  clip: { task: 'zero-shot-image-classification', args: [PICTURE, ...LABELS], prints: /^label\s+score/m },
  'clip-two-graphs': {
    task: 'zero-shot-image-classification',
    args: [PICTURE, ...LABELS],
    prints: /a cat\s+[01]\.\d{4}/m,
  },
  siglip: {
    task: 'zero-shot-image-classification',
    args: [PICTURE, ...LABELS],
    prints: /the weather\s+0\.\d{4}/m,
  },
  segformer: {
    task: 'image-segmentation',
    args: [PICTURE],
    prints: /^label\s+score\s+of the picture\s*\n\w+\s+0\.\d{4}\s+\d+\.\d %/m,
  },
  'mobilevit-segmentation': { task: 'image-segmentation', args: [PICTURE], prints: /\d+\.\d %/ },
  glpn: {
    task: 'depth-estimation',
    args: [PICTURE],
    prints: /depth of 90 x 60 px, from .* \(black\) to .* \(white\)/,
  },
  'depth-anything': { task: 'depth-estimation', args: [PICTURE], prints: /depth of 90 x 60 px/ },
  'wav2vec2-audio': { task: 'audio-classification', args: [SOUND], prints: /(siren|rain)\s+0\.\d{4}/ },
  ast: { task: 'audio-classification', args: [SOUND], prints: /(siren|rain)\s+0\.\d{4}/ },
};

async function run(
  t: TestContext,
  args: readonly string[],
): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, args);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

/** As its exporter leaves it: no file of ours. */
async function exported(t: TestContext, name: string): Promise<string> {
  const folder = join(await temporaryFolder(t), name);
  await cp(join(REFERENCE, name), folder, { recursive: true });
  for (const file of ['outrider.json', 'expected.json']) await rm(join(folder, file));
  return folder;
}

test('each is pulled from its folder as it lies there, and answers in a table', async (t) => {
  const into = await temporaryFolder(t);
  for (const [name, { task }] of Object.entries(MODELS)) {
    const said = task === 'sentence-similarity' ? ['--task', task] : [];
    const { code, output } = await run(t, [
      'models',
      'pull',
      await exported(t, name),
      '--into',
      into,
      ...said,
    ]);
    assert.equal(code, 0, output);
    assert.match(output, new RegExp(`\\b${task}\\b`), name);
  }
  const models = Object.keys(MODELS).map((name) => join(into, name));
  const hub = await startHubProgram(t, { models });
  const at = ['--hub', hub.url, '--key', hub.key];
  for (const [name, { args, prints }] of Object.entries(MODELS)) {
    const { code, output } = await run(t, ['infer', name, ...args, ...at]);
    assert.equal(code, 0, `${name}: ${output}`);
    assert.match(output, prints, name);
  }
  // What goes wrong is said in one sentence, and what to type instead.
  for (const [args, match] of [
    [['clip', PICTURE], /candidate_labels.*--labels/],
    [['rank-bert', 'Paris'], /text-ranking takes JSON.*"query".*"texts"/],
    [['ast', PICTURE], /INPUT_KIND_WRONG/],
    [['segformer', SOUND], /IMAGE_CORRUPT/],
    [['segformer', PICTURE, '--parameters', '{"subtask": "panoptic"}'], /subtask.*PARAMETERS_INVALID/],
  ] as const) {
    const { code, output } = await run(t, ['infer', ...args, ...at]);
    assert.notEqual(code, 0, output);
    assert.match(output, match);
  }
  const folder = await exported(t, 'hubert-audio');
  const pushed = await run(t, ['models', 'push', folder, '--name', 'acme/hears', '--no-wait', ...at]);
  assert.equal(pushed.code, 0, pushed.output);
  assert.match((await run(t, ['infer', 'acme/hears', SOUND, ...at])).output, /(siren|rain)/);
});

test('what is not done is refused by its name', async (t) => {
  const folder = await exported(t, 'segformer');
  const into = await temporaryFolder(t);
  const pull = (...more: string[]) => run(t, ['models', 'pull', folder, '--into', into, ...more]);
  const config = { model_type: 'zoedepth', architectures: ['ZoeDepthForDepthEstimation'] };
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  assert.match((await pull()).output, /does not fit depth-estimation: it gives logits/);
});
