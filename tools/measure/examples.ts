/**
 * The labelled examples that models are measured on, read from the `--data` folder of the recipes (README.md there).
 * `held-out` is the part of *train* that no model was trained on and certificates are made from; `reported` is what the
 * figures are measured on, without the demo pictures.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzip, unzip } from 'fflate';
import sharp from 'sharp';
import { AppError } from '../../shared/runtime/errors.ts';
import type { TaskInput, TaskName } from '../../shared/tasks/tasks.ts';

export interface Example {
  /** `cat/0123.jpg`, or the line's number in the file, from 1. */
  readonly id: string;
  readonly label: string;
  readonly input: TaskInput;
}

export type Part = 'held-out' | 'reported';

/** The data of the recipes; `held-out` is there for the first two. */
export type DataSet = 'sst2' | 'cifar10' | 'imagenet' | 'mnist' | 'basicmotions';

/** On which data a starter model was trained and is measured. */
export function dataSetOf({
  name,
  task,
}: {
  readonly name: string;
  readonly task: TaskName;
}): DataSet | TaskName {
  if (name.startsWith('efficientnet-')) return 'imagenet';
  if (name.startsWith('basicmotions-')) return 'basicmotions';
  return name.startsWith('mnist-') ? 'mnist' : task;
}

const RECIPES = fileURLToPath(new URL('../../models/recipes', import.meta.url));
const DEMO_PICTURES = join(RECIPES, '..', 'demo', 'pictures');

/** A part of a data set, or of the one that the pairs of a task are measured on. @throws FILE_UNREADABLE */
export async function readExamples(from: DataSet | TaskName, part: Part, data: string): Promise<Example[]> {
  const examples = await readAll(from, part, data);
  if (examples.length === 0)
    throw new AppError('FILE_UNREADABLE', `${data} holds no example for ${from}, ${part}`);
  return examples;
}

async function readAll(from: DataSet | TaskName, part: Part, data: string): Promise<Example[]> {
  if (from === 'sst2' || from === 'text-classification') {
    if (part === 'reported') return sentences(join(data, 'sst2', 'dev.tsv'), () => true);
    const heldOut = await heldOutIds('sst2');
    return sentences(join(data, 'sst2', 'train.tsv'), (id) => heldOut.has(id));
  }
  if (from === 'cifar10' || from === 'image-classification') {
    if (part === 'held-out') {
      const heldOut = await heldOutIds('cifar10');
      return pictures(join(data, 'cifar10-train.zip'), (id) => heldOut.has(id));
    }
    const demo = await demoIds();
    return pictures(join(data, 'cifar10-val.zip'), (id) => !demo.has(id));
  }
  // Of the others nothing is held out.
  if (part === 'reported' && from === 'imagenet') return photographs(data);
  if (part === 'reported' && from === 'mnist') return digits(join(data, 'mnist'));
  if (part === 'reported' && from === 'basicmotions')
    return windows(join(data, 'sensors', 'BasicMotions_TEST.ts.gz'));
  return [];
}

/** The UEA archive's `.ts`: channels beside each other, separated by colons, the label last. */
async function windows(file: string): Promise<Example[]> {
  const text = Buffer.from(await promisify(gunzip)(await read(file))).toString('utf8');
  const [, data = ''] = text.split(/^@data\s*$/m);
  return data
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, index) => {
      const parts = line.trim().split(':');
      const label = parts.pop() ?? '';
      const channels = parts.map((part) => part.split(',').map(Number));
      const values = channels[0]?.map((_, at) => channels.map((channel) => channel[at]));
      const body = Buffer.from(JSON.stringify({ values, rate: 10 }));
      return { id: String(index + 1), label, input: { contentType: 'application/json', body } };
    });
}

async function sentences(file: string, takes: (id: string) => boolean): Promise<Example[]> {
  const lines = (await read(file)).toString('utf8').split('\n');
  return lines.flatMap((line, index) => {
    const [, text, label] = /^(.+)\t([01])\r?$/.exec(line) ?? [];
    const id = String(index + 1);
    if (text === undefined || !takes(id)) return [];
    const input = { contentType: 'text/plain; charset=utf-8', body: Buffer.from(text) };
    return [{ id, label: label === '1' ? 'POSITIVE' : 'NEGATIVE', input }];
  });
}

async function pictures(file: string, takes: (id: string) => boolean): Promise<Example[]> {
  return Object.entries(await unzipPictures(file, takes)).map(([id, body]) => ({
    id,
    label: id.split('/')[0] ?? '',
    input: { contentType: 'image/jpeg', body },
  }));
}

/** All but the 100 that Lite0 was calibrated on (outrider_recipes/imagenet.py has the rule). */
async function photographs(data: string): Promise<Example[]> {
  const all = await unzipPictures(join(data, 'imagenet-samples.zip'), () => true);
  const rank = (id: string): string =>
    createHash('sha256').update(`outrider-calibration/${id}`).digest('hex');
  const ids = Object.keys(all).sort((x, y) => (rank(x) < rank(y) ? -1 : 1));
  return ids.slice(100).map((id) => ({
    id,
    label: id.replace(/^n\d+_|\.jpg$/g, '').replaceAll('_', ' '),
    input: { contentType: 'image/jpeg', body: all[id] as Uint8Array },
  }));
}

/** MNIST's IDX files: 16 and 8 bytes of header, then the pixels and the digits. */
async function digits(folder: string): Promise<Example[]> {
  const inflate = promisify(gunzip);
  const pixels = (await inflate(await read(join(folder, 'val-images-idx3-ubyte.gz')))).subarray(16);
  const labels = (await inflate(await read(join(folder, 'val-labels-idx1-ubyte.gz')))).subarray(8);
  const raw = { width: 28, height: 28, channels: 1 } as const;
  return Promise.all(
    Array.from(labels, async (label, index) => {
      const picture = pixels.subarray(index * 784, (index + 1) * 784);
      const body = await sharp(picture, { raw }).png().toBuffer();
      return { id: String(index + 1), label: String(label), input: { contentType: 'image/png', body } };
    }),
  );
}

async function unzipPictures(
  file: string,
  takes: (id: string) => boolean,
): Promise<Record<string, Uint8Array>> {
  const archive = await read(file);
  return new Promise<Record<string, Uint8Array>>((resolve, reject) => {
    unzip(archive, { filter: ({ name }) => name.endsWith('.jpg') && takes(name) }, (error, unzipped) =>
      error ? reject(new AppError('FILE_UNREADABLE', `${file}: ${error.message}`)) : resolve(unzipped),
    );
  });
}

async function heldOutIds(dataSet: string): Promise<Set<string>> {
  return new Set((await read(join(RECIPES, 'held-out', `${dataSet}.txt`))).toString().trim().split(/\s+/));
}

/** `cat-0123.jpg` in the demo is `cat/0123.jpg` in the archive. */
async function demoIds(): Promise<Set<string>> {
  return new Set((await readdir(DEMO_PICTURES)).map((name) => name.replace('-', '/')));
}

async function read(file: string): Promise<Buffer> {
  return readFile(file).catch((error: unknown) => {
    throw new AppError('FILE_UNREADABLE', `${file} cannot be read`, { cause: error });
  });
}
