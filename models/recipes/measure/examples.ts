/**
 * The labelled examples that models are measured on, read from the `--data` folder of the recipes (README.md there).
 * `held-out` is the part of *train* that no model was trained on and certificates are made from; `reported` is what the
 * figures are measured on, without the demo pictures.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unzip } from 'fflate';
import type { TaskInput, TaskName } from '../../../shared/contract/tasks.ts';
import { AppError } from '../../../shared/runtime/errors.ts';

export interface Example {
  /** `cat/0123.jpg`, or the line's number in the file, from 1. */
  readonly id: string;
  readonly label: string;
  readonly input: TaskInput;
}

export type Part = 'held-out' | 'reported';

const RECIPES = fileURLToPath(new URL('..', import.meta.url));
const DEMO_PICTURES = join(RECIPES, '..', 'demo', 'pictures');

/** The part of the data set on which the starter models of a task are measured. @throws FILE_UNREADABLE */
export async function readExamples(task: TaskName, part: Part, data: string): Promise<Example[]> {
  const examples = await readAll(task, part, data);
  if (examples.length === 0)
    throw new AppError('FILE_UNREADABLE', `${data} holds no example for ${task}, ${part}`);
  return examples;
}

async function readAll(task: TaskName, part: Part, data: string): Promise<Example[]> {
  switch (task) {
    case 'text-classification': {
      if (part === 'reported') return sentences(join(data, 'sst2', 'dev.tsv'), () => true);
      const heldOut = await heldOutIds('sst2');
      return sentences(join(data, 'sst2', 'train.tsv'), (id) => heldOut.has(id));
    }
    case 'image-classification': {
      if (part === 'held-out') {
        const heldOut = await heldOutIds('cifar10');
        return pictures(join(data, 'cifar10-train.zip'), (id) => heldOut.has(id));
      }
      const demo = await demoIds();
      return pictures(join(data, 'cifar10-val.zip'), (id) => !demo.has(id));
    }
    default:
      return [];
  }
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
  const archive = await read(file);
  const entries = await new Promise<Record<string, Uint8Array>>((resolve, reject) => {
    unzip(archive, { filter: ({ name }) => name.endsWith('.jpg') && takes(name) }, (error, unzipped) =>
      error ? reject(new AppError('FILE_UNREADABLE', `${file}: ${error.message}`)) : resolve(unzipped),
    );
  });
  return Object.entries(entries).map(([id, body]) => ({
    id,
    label: id.split('/')[0] ?? '',
    input: { contentType: 'image/jpeg', body },
  }));
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
