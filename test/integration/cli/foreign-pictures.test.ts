/**
 * Bare graphs of pictures as exporters of many kinds leave them (test/fixtures/exports), pulled as a user types it, and asked: what the file
 * itself says is used, what it leaves open is asked for by a flag that is there.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';

const EXPORTS = fileURLToPath(new URL('../../fixtures/exports', import.meta.url));

async function run(t: TestContext, ...args: string[]): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, args);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

async function picture(file: string, background: string, width = 128, height = 64): Promise<string> {
  await sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toFile(file);
  return file;
}

const PREPROCESSOR = {
  do_resize: true,
  size: { height: 8, width: 8 },
  do_rescale: true,
  rescale_factor: 1 / 255,
};

/** A model, what beside its file is said of it, what it finds in a red picture of 128 x 64, and what its `outrider.json` says. */
interface Case {
  readonly name: string;
  readonly flags?: readonly string[];
  readonly beside?: object;
  /** Where it is not called as the model. */
  readonly graph?: string;
  /** Its `config.json`. */
  readonly config?: object;
  readonly labels?: string;
  readonly finds: readonly unknown[];
  readonly spec?: object;
}

const box = (label: string, score: number, [xmin, ymin, xmax, ymax]: readonly number[]) => ({
  ...{ label, score },
  box: { xmin, ymin, xmax, ymax },
});
const classified = (...scores: [string, number][]) => scores.map(([label, score]) => ({ label, score }));
/** Half of the canvas is letterbox grey. */
const LETTERBOXED = 0.5 + 114 / 255 / 2;
const COLOURS = 'red\ngreen\nblue\n';
const RED = classified(['red', 0.9993], ['green', 0.0003], ['blue', 0.0003]);
const DETECTION = ['--task', 'object-detection'];
const CLASSES = ['--task', 'image-classification'];

const CASES: readonly Case[] = [
  {
    name: 'ultralytics-detect',
    finds: [box('red', LETTERBOXED, [24, 0, 40, 8])],
    spec: { detector: { family: 'yolov8', inputSize: { height: 64, width: 64 } } },
  },
  {
    name: 'ultralytics-nms',
    finds: [box('red', LETTERBOXED, [16, 0, 48, 16])],
    spec: { detector: { family: 'yolov10', inputSize: { height: 64, width: 64 } } },
  },
  {
    name: 'ultralytics-rt-detr',
    finds: [box('red', 1, [0, 0, 64, 64])],
    spec: { detector: { family: 'rt-detr-ultralytics', inputSize: { height: 64, width: 64 } } },
  },
  {
    name: 'ultralytics-yolov5',
    finds: [box('red', LETTERBOXED, [24, 0, 40, 8])],
    spec: { detector: { family: 'yolov5' } },
  },
  { name: 'ultralytics-classify', finds: RED },
  { name: 'ultralytics-classify-half', finds: RED },
  {
    name: 'torchvision-ssd',
    flags: DETECTION,
    labels: 'red\nblue\n',
    finds: [box('blue', 1, [4, 8, 20, 24])],
    spec: { detector: { family: 'torchvision' }, batch: { safe: false, maxSize: 1 } },
  },
  {
    name: 'tensorflow-detector',
    flags: DETECTION,
    labels: '{"1": "red", "2": "blue"}',
    finds: [box('red', 1, [64, 16, 128, 48]), box('blue', 1, [0, 0, 32, 32])],
    spec: { detector: { family: 'tensorflow' } },
  },
  {
    name: 'channels-last',
    flags: CLASSES,
    beside: PREPROCESSOR,
    labels: '["red", "green", "blue"]',
    finds: RED,
  },
  { name: 'bytes', flags: CLASSES, labels: '{"red": 0, "blue": 2, "green": 1}', finds: RED },
  { name: 'bytes-first', flags: CLASSES, labels: COLOURS, finds: RED },
  {
    name: 'grey',
    flags: CLASSES,
    beside: { ...PREPROCESSOR, do_normalize: true, image_mean: [0.5], image_std: [0.5] },
    labels: 'dark\nlight\n',
    finds: classified(['dark', 0.6916], ['light', 0.3084]),
  },
  {
    name: 'grey-last',
    flags: CLASSES,
    beside: { ...PREPROCESSOR, do_normalize: true, image_mean: 0.5, image_std: 0.5 },
    labels: 'dark\nlight\n',
    finds: classified(['dark', 0.6916], ['light', 0.3084]),
  },
  {
    name: 'label-first',
    flags: CLASSES,
    beside: PREPROCESSOR,
    labels: COLOURS,
    finds: RED,
    spec: { output: 'scores' },
  },
  {
    name: 'timm',
    graph: 'label-first',
    config: {
      architecture: 'resnet18',
      label_names: ['red', 'green', 'blue'],
      num_classes: 3,
      pretrained_cfg: {
        input_size: [3, 8, 8],
        interpolation: 'hamming',
        crop_pct: 0.875,
        mean: [0, 0, 0],
        std: [1, 1, 1],
      },
    },
    finds: RED,
    spec: { task: 'image-classification' },
  },
  {
    name: 'two-heads',
    flags: [...CLASSES, '--output', 'other'],
    beside: PREPROCESSOR,
    labels: COLOURS,
    finds: classified(['green', 0.4999], ['blue', 0.4999], ['red', 0.0002]),
    spec: { output: 'other' },
  },
];

/** A bare graph in a folder of its own, with what lies beside it. @returns how it is named to a command */
async function laidOut(
  folder: string,
  { name, graph = name, beside, config, labels, flags = [] }: Case,
): Promise<string[]> {
  const place = join(folder, 'exports', name);
  await mkdir(place, { recursive: true });
  await cp(join(EXPORTS, `${graph}.onnx`), join(place, `${name}.onnx`));
  await writeFile(join(place, 'another.onnx'), 'not asked for');
  if (beside) await writeFile(join(place, 'preprocessor_config.json'), JSON.stringify(beside));
  if (config) await writeFile(join(place, 'config.json'), JSON.stringify(config));
  if (labels === undefined) return [join(place, `${name}.onnx`), ...flags];
  await writeFile(join(place, 'labels'), labels);
  return [join(place, `${name}.onnx`), ...flags, '--labels', join(place, 'labels')];
}

/** To four digits, as the tables of this test say them. */
const rounded = (answer: unknown): unknown =>
  JSON.parse(
    JSON.stringify(answer, (_key, value) =>
      typeof value === 'number' ? Math.round(value * 1e4) / 1e4 : value,
    ),
  );

test('each export is what its file says, and answers', async (t) => {
  const folder = await temporaryFolder(t);
  const into = join(folder, 'models');
  for (const one of CASES) {
    const args = await laidOut(folder, one);
    const { code, output } = await run(t, 'models', 'pull', ...args, '--into', into);
    assert.equal(code, 0, `${one.name}: ${output}`);
    assert.match(output, /answers +it answers; it has no golden inputs/);
    const spec = JSON.parse(await readFile(join(into, one.name, 'outrider.json'), 'utf8'));
    for (const [key, value] of Object.entries(one.spec ?? {})) assert.deepEqual(spec[key], value, one.name);
  }
  const hub = await startHubProgram(t, { models: CASES.map(({ name }) => join(into, name)) });
  const red = await picture(join(folder, 'red.png'), '#ff0000');
  for (const { name, finds } of CASES) {
    const at = ['--hub', hub.url, '--key', hub.key, '--json'];
    const { code, output } = await run(t, 'infer', name, red, ...at);
    assert.equal(code, 0, `${name}: ${output}`);
    assert.deepEqual(rounded(JSON.parse(output)), rounded(finds), name);
  }
});

test('what a graph leaves open is asked for, by a flag that is there', async (t) => {
  const folder = await temporaryFolder(t);
  const say = async (one: Omit<Case, 'finds'>): Promise<string> => {
    const args = await laidOut(folder, { ...one, finds: [] });
    const { code, output } = await run(t, 'models', 'pull', ...args, '--into', join(folder, 'models'));
    assert.equal(code === 0, false, output);
    return output;
  };
  assert.match(
    await say({ name: 'two-heads', flags: CLASSES, beside: PREPROCESSOR, labels: COLOURS }),
    /it gives other float32\[\?,3\], main float32\[\?,3\]: say with --output which of them holds the answers/,
  );
  assert.match(
    await say({
      name: 'two-heads',
      flags: [...CLASSES, '--output', 'none'],
      beside: PREPROCESSOR,
      labels: COLOURS,
    }),
    /--output: the graph has no output none; it gives label int64.*\(USAGE\)/,
  );
  assert.match(
    await say({ name: 'ultralytics-segment' }),
    /for “segment”, .*--task tensor.*\(MODEL_INVALID\)/,
  );
  assert.match(
    await say({ name: 'channels-last', flags: CLASSES, labels: COLOURS }),
    /preprocessor_config\.json is missing/,
  );
  assert.match(
    await say({ name: 'bytes', flags: CLASSES, labels: '{"red": 0, "blue": 0, "green": 1}' }),
    /gives two labels one number/,
  );
  assert.match(
    await say({ name: 'bytes', flags: CLASSES, labels: '{"0": "red", "5": "blue"}' }),
    /has no label "1"/,
  );
});

test('weights of any name come along, from a folder and beside a bare graph', async (t) => {
  const into = await temporaryFolder(t);
  for (const [name, source] of [
    ['folder', join(EXPORTS, 'external')],
    ['bare', join(EXPORTS, 'external/net.onnx')],
  ] as const) {
    const args = ['models', 'pull', source, '--task', 'tensor', '--name', name, '--into', into];
    const { code, output } = await run(t, ...args);
    assert.equal(code, 0, output);
    const { spec } = await openModelFolder(join(into, name));
    assert.deepEqual(Object.keys(spec.files).sort(), ['net.onnx', 'parts/weights.0.bin']);
  }
});
