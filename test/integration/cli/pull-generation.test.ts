/**
 * `outrider models pull`, then `outrider infer`, as a user types them, of each model that writes: from its own folder and from a hub,
 * with its graphs in `onnx/` (transformers.js) and in the root (Optimum). The texts are Python's (test/fixtures/generation).
 */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import {
  GENERATION,
  type GenerationHub,
  type GenerationModel,
  type Reference,
  references,
  startGenerationHub,
} from '../../support/generation.ts';
import { HuggingFaceHub } from '../../support/hugging-face-hub.ts';
import { withInput } from '../../support/onnx-file.ts';
import { outrider } from '../../support/programs.ts';
import { splitDecoder } from '../../support/split-decoder.ts';

const MODELS: readonly GenerationModel[] = ['marian', 'bart', 'gpt2', 'whisper', 'wav2vec2', 'vit-gpt2'];
/** Of an architecture that several tasks have, its owner says which. */
const SAID: Partial<Record<GenerationModel, readonly string[]>> = { bart: ['--task', 'summarization'] };
const INT64 = 7;

async function run(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const program = outrider(t, args, { env });
  const { code } = await program.exited;
  assert.equal(code, 0, `${args.join(' ')}: ${program.output()}`);
  return program.output();
}

/** As Optimum writes it: no file of ours, graphs beside `config.json`. */
async function optimum(t: TestContext, model: GenerationModel): Promise<string> {
  const folder = join(await temporaryFolder(t), model);
  await cp(join(GENERATION, model), folder, { recursive: true });
  await rm(join(folder, 'outrider.json'));
  for (const graph of await readdir(join(folder, 'onnx')))
    await rename(join(folder, 'onnx', graph), join(folder, graph));
  await rm(join(folder, 'onnx'), { recursive: true });
  if (model === 'wav2vec2') await rm(join(folder, 'tokenizer.json'));
  if (model === 'whisper') await takesPositions(join(folder, 'decoder_model_merged.onnx'));
  return folder;
}

const takesPositions = async (graph: string): Promise<void> =>
  writeFile(
    graph,
    withInput(await readFile(graph), { name: 'cache_position', type: INT64, dims: ['length'] }),
  );

async function filesOf(folder: string): Promise<Record<string, Uint8Array>> {
  const names = await readdir(folder);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)),
  );
}

/** What is asked of `outrider infer`, and what it prints. */
function question(model: GenerationModel, { input, parameters }: Reference): string[] {
  const folder = { whisper: 'sounds', wav2vec2: 'sounds', 'vit-gpt2': '.' }[model as string];
  const given = folder === undefined ? input : join(GENERATION, folder, input);
  return [model, given, '--parameters', JSON.stringify(parameters)];
}

let expected: Record<GenerationModel, Reference[]>;
before(async () => {
  expected = await references();
});

async function answersAsPython(
  t: TestContext,
  models: string,
  those: readonly GenerationModel[] = MODELS,
): Promise<void> {
  const hub: GenerationHub = await startGenerationHub(models);
  t.after(() => hub.stop());
  for (const model of those) {
    const [reference = assert.fail()] = expected[model];
    const args = ['infer', ...question(model, reference), '--hub', hub.url, '--key', hub.adminKey, '--json'];
    // A terminal is spared what untrained weights write.
    const [text] = Object.values([JSON.parse(await run(t, args))].flat()[0]);
    assert.equal(String(text).trim(), reference.text.trim(), model);
  }
}

test('each model that writes is pulled from its folder as it lies there, and answers', async (t) => {
  const into = await temporaryFolder(t);
  for (const model of MODELS) {
    const output = await run(t, ['models', 'pull', join(GENERATION, model), '--into', into, '--name', model]);
    assert.match(output, /described by its own outrider\.json/i);
  }
  assert.deepEqual((await readdir(into)).sort(), [...MODELS].sort());
  await answersAsPython(t, into);
});

const hub = new HuggingFaceHub({});
after(() => hub.stop());

test('each is pulled from a hub in the layout of Optimum, and answers', async (t) => {
  const into = await temporaryFolder(t);
  const repositories: Record<string, { files: Record<string, Uint8Array> }> = {};
  for (const model of MODELS)
    repositories[`acme/${model}`] = { files: await filesOf(await optimum(t, model)) };
  hub.serve(repositories);
  const env = { HF_ENDPOINT: await hub.start() };
  for (const model of MODELS) {
    const said = [...(SAID[model] ?? []), '--name', model];
    await run(t, ['models', 'pull', `hf:acme/${model}`, '--into', into, ...said], env);
  }
  await answersAsPython(t, into);
});

test('from a folder in either layout, of a name that is no model’s', async (t) => {
  const place = join(await temporaryFolder(t), '.cache', 'models--acme--my model');
  await mkdir(place, { recursive: true });
  const root = join(place, 'root..git');
  await cp(await optimum(t, 'gpt2'), root, { recursive: true });
  const onnx = join(place, '.onnx');
  await cp(join(GENERATION, 'marian'), onnx, { recursive: true });
  await rm(join(onnx, 'outrider.json'));
  await run(t, ['models', 'pull', root, '--into', place, '--name', 'gpt2']);
  await run(t, ['models', 'pull', onnx, '--into', place, '--name', 'marian']);
});

test('transformers 5 keeps the preprocessor in processor_config.json', async (t) => {
  const place = await temporaryFolder(t);
  for (const [model, key] of [
    ['whisper', 'feature_extractor'],
    ['vit-gpt2', 'image_processor'],
  ] as const) {
    const folder = await optimum(t, model);
    const preprocessor = JSON.parse(await readFile(join(folder, 'preprocessor_config.json'), 'utf8'));
    await rm(join(folder, 'preprocessor_config.json'));
    await writeFile(
      join(folder, 'processor_config.json'),
      JSON.stringify({ [key]: preprocessor, processor_class: 'AProcessor' }),
    );
    await run(t, ['models', 'pull', folder, '--into', join(place, 'models'), '--name', model]);
    const made = await readFile(join(place, 'models', model, 'preprocessor_config.json'), 'utf8');
    assert.deepEqual(JSON.parse(made), preprocessor);
  }
});

/** What a decoder is replaced by: its parts under names of Optimum's. */
type Parts = Partial<Record<keyof ReturnType<typeof splitDecoder>, string>>;
const IN_TWO: Parts = { first: 'decoder_model.onnx', later: 'decoder_with_past_model.onnx' };

/** As Optimum writes it where it does not merge. */
async function unmerged(t: TestContext, model: GenerationModel, parts: Parts): Promise<string> {
  const folder = await optimum(t, model);
  const merged = join(folder, model === 'gpt2' ? 'model.onnx' : 'decoder_model_merged.onnx');
  const split = splitDecoder(await readFile(merged), { heads: 2, width: 16 });
  await rm(merged);
  for (const [part, name] of Object.entries(parts))
    await writeFile(join(folder, name), split[part as keyof Parts]);
  return folder;
}

async function pulls(
  t: TestContext,
  models: Partial<Record<GenerationModel, Parts>>,
  says: RegExp,
): Promise<void> {
  const into = await temporaryFolder(t);
  for (const [name, parts] of Object.entries(models)) {
    const model = name as GenerationModel;
    const folder = await unmerged(t, model, parts);
    assert.match(await run(t, ['models', 'pull', folder, '--into', into, ...(SAID[model] ?? [])]), says);
  }
  await answersAsPython(t, into, Object.keys(models) as GenerationModel[]);
}

test('a decoder that was left in two answers as the merged one does', (t) =>
  pulls(
    t,
    { marian: IN_TWO, bart: IN_TWO, gpt2: IN_TWO, whisper: IN_TWO, 'vit-gpt2': IN_TWO },
    /^(?!.*takes no cache)/is,
  ));

test('a decoder that takes no cache reads the whole row at each step, and pull says so', (t) =>
  pulls(
    t,
    {
      marian: { alone: 'decoder_model.onnx' },
      bart: { first: 'decoder_model.onnx' },
      gpt2: { alone: 'model.onnx' },
      'vit-gpt2': { first: 'decoder_model.onnx' },
    },
    /its decoder takes no cache/i,
  ));

test('half of a decoder is refused with what is missing', async (t) => {
  const folder = await unmerged(t, 'marian', { later: 'decoder_with_past_model.onnx' });
  const program = outrider(t, ['models', 'pull', folder, '--into', await temporaryFolder(t)]);
  await program.exited;
  assert.match(
    program.output().replaceAll(/\s+/g, ' '),
    /encoder_model and decoder_model and decoder_with_past_model.*put decoder_model beside it.*\(MODEL_INVALID\)/,
  );
});
