/**
 * Captures as a data set that training programs read: Hugging Face's `imagefolder`, or lines of JSON.
 *
 *   captures.jsonl             imagefolder: a row a picture, with both answers and `file`; the folders alone are what `datasets` loads
 *   train/cat/<id>.jpg         pictures with labels
 *   train/metadata.jsonl       … with boxes or texts, by `file_name`
 *   train.jsonl, test.jsonl    jsonl: a row an input; what is no text lies in files/
 *   dataset.json               what was exported, and how; written last
 *
 * It is written beside its place and renamed, so that it is there whole or not at all; one that was broken off is gone on with.
 */
import { appendFile, readdir, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { CaptureDetail, CaptureRecord } from '../contract/captures.ts';
import { readJson, syncFolder, writeJsonAtomic } from '../runtime/atomic-file.ts';
import { AppError, isAppError, isDiskFull, systemCode } from '../runtime/errors.ts';
import { sha256Hex } from '../runtime/ids.ts';
import { makeFolder } from '../runtime/make-folder.ts';
import { TASKS } from '../tasks/tasks.ts';
import { FolderNames } from './folder-names.ts';
import { extensionOf, inputOf, pictureFacts, type Row, rowOf } from './rows.ts';
import { type Split, splitOf, USUAL_SPLITS } from './split.ts';

/** Form of a data set. */
export type DatasetFormat = 'imagefolder' | 'jsonl';

/** Captures to write out, and where their answers and inputs come from. */
export interface DatasetOptions {
  readonly out: string;
  readonly captures: readonly CaptureRecord[];
  /** By the task, when left out. */
  readonly format?: DatasetFormat | undefined;
  readonly splits?: readonly Split[] | undefined;
  /** @throws NOT_FOUND: it has been erased meanwhile, and is left out */
  readonly detailOf: (id: string) => Promise<CaptureDetail>;
  readonly inputOf: (id: string) => Promise<Uint8Array>;
  readonly onProgress?: (done: number) => void;
  readonly signal?: AbortSignal;
}

/** What was written. */
export interface Dataset {
  readonly format: DatasetFormat;
  readonly task: string;
  readonly examples: number;
  /** Erased while it was written. */
  readonly gone: number;
  readonly splits: Readonly<Record<string, number>>;
  /** Labels by the names of their folders. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Asked for at a time. */
const AT_ONCE = 8;
const STATE_FILE = 'export.json';
const state = z.object({ key: z.string() });

/** @throws CONFLICT (something is there), NOT_FOUND (no captures), PARAMETERS_INVALID (several tasks; no pictures), DISK_FULL */
export async function writeDataset(options: DatasetOptions): Promise<Dataset> {
  const { out, splits = USUAL_SPLITS } = options;
  const task = taskOf(options.captures);
  const format = options.format ?? (TASKS[task].inputKind === 'image' ? 'imagefolder' : 'jsonl');
  if (format === 'imagefolder' && TASKS[task].inputKind !== 'image')
    throw new AppError('PARAMETERS_INVALID', `${task} has no pictures: export it as jsonl`);
  await refuseFilled(out);
  // Oldest first: what is exported again later goes on where this ended.
  const captures = [...options.captures].reverse();
  const key = sha256Hex(JSON.stringify([format, splits, captures.map(({ id }) => id)]));
  const partial = `${out}.partial`;
  try {
    await begin(partial, key);
    const made = await new Writer(partial, format, splits, options).write(captures);
    const dataset: Dataset = { format, task, ...made };
    const { labels, ...facts } = dataset;
    await writeJsonAtomic(join(partial, 'dataset.json'), { schema: 1, ...facts, labels, shares: splits });
    await rm(join(partial, STATE_FILE), { force: true });
    await rmdir(out).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
    });
    await rename(partial, out);
    await syncFolder(dirname(out));
    return dataset;
  } catch (error) {
    throw isDiskFull(error) ? new AppError('DISK_FULL', `no space for ${out}`, { cause: error }) : error;
  }
}

function taskOf(captures: readonly CaptureRecord[]): CaptureRecord['task'] {
  const tasks = [...new Set(captures.map(({ task }) => task))];
  const [task] = tasks;
  if (task === undefined) throw new AppError('NOT_FOUND', 'there are no such captures');
  if (tasks.length > 1)
    throw new AppError(
      'PARAMETERS_INVALID',
      `they are of several tasks (${tasks.join(', ')}): name a pipeline or a model`,
    );
  return task;
}

/** @throws CONFLICT */
async function refuseFilled(out: string): Promise<void> {
  const names = await readdir(out).catch((error: unknown): string[] => {
    if (systemCode(error) === 'ENOENT') return [];
    if (systemCode(error) === 'ENOTDIR') return [out];
    throw error;
  });
  if (names.length > 0) throw new AppError('CONFLICT', `${out} is there and not empty: name another folder`);
}

/** What another export has left there is of no use. */
async function begin(partial: string, key: string): Promise<void> {
  const before = await readJson(join(partial, STATE_FILE), state).catch(() => undefined);
  if (before?.key !== key) await rm(partial, { recursive: true, force: true });
  await makeFolder(partial);
  await writeJsonAtomic(join(partial, STATE_FILE), { key });
}

class Writer {
  readonly #folder: string;
  readonly #format: DatasetFormat;
  readonly #splits: readonly Split[];
  readonly #o: DatasetOptions;
  readonly #names = new FolderNames();
  readonly #begun = new Set<string>();

  constructor(folder: string, format: DatasetFormat, splits: readonly Split[], options: DatasetOptions) {
    this.#folder = folder;
    this.#format = format;
    this.#splits = splits;
    this.#o = options;
  }

  async write(captures: readonly CaptureRecord[]): Promise<Omit<Dataset, 'format' | 'task'>> {
    const counts: Record<string, number> = Object.fromEntries(this.#splits.map(({ name }) => [name, 0]));
    let [examples, gone] = [0, 0];
    for (let at = 0; at < captures.length; at += AT_ONCE) {
      this.#o.signal?.throwIfAborted();
      const some = captures.slice(at, at + AT_ONCE);
      const found = await Promise.all(some.map((one) => this.#fetch(one)));
      for (const one of found) {
        if (!one) gone++;
        else {
          const split = splitOf(one.capture.group, this.#splits);
          await this.#put(one.capture, one.body, split);
          counts[split] = (counts[split] ?? 0) + 1;
          examples++;
        }
      }
      this.#o.onProgress?.(Math.min(captures.length, at + AT_ONCE));
    }
    if (examples === 0) throw new AppError('NOT_FOUND', 'there are no such captures');
    return { examples, gone, splits: counts, labels: this.#names.labels };
  }

  async #fetch({ id }: CaptureRecord): Promise<{ capture: CaptureDetail; body: Uint8Array } | undefined> {
    try {
      const [capture, body] = await Promise.all([this.#o.detailOf(id), this.#o.inputOf(id)]);
      return { capture, body };
    } catch (error) {
      if (isAppError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async #put(capture: CaptureDetail, body: Uint8Array, split: string): Promise<void> {
    const row = rowOf(capture, split);
    const name = `${capture.id}.${extensionOf(body)}`;
    if (this.#format === 'imagefolder') return this.#putPicture(capture, body, { row, split, name });
    let file: string | undefined;
    const input = inputOf(capture, body, () => (file = `files/${name}`));
    if (file !== undefined) await this.#putFile(file, body);
    await this.#line(`${split}.jsonl`, { ...input, ...row });
  }

  async #putPicture(
    capture: CaptureDetail,
    body: Uint8Array,
    { row, split, name }: { readonly row: Row; readonly split: string; readonly name: string },
  ): Promise<void> {
    const hasLabel = TASKS[capture.task].ranks !== null;
    const file = hasLabel
      ? `${split}/${this.#names.of(capture.cloud.label ?? 'none')}/${name}`
      : `${split}/${name}`;
    await this.#putFile(file, body);
    if (!hasLabel) await this.#line(`${split}/metadata.jsonl`, { file_name: name, ...pictureFacts(capture) });
    await this.#line('captures.jsonl', { file, ...row });
  }

  /** One that was broken off has it already. */
  async #putFile(file: string, body: Uint8Array): Promise<void> {
    const path = join(this.#folder, file);
    const there = await stat(path).catch(() => undefined);
    if (there?.size === body.length) return;
    await makeFolder(dirname(path));
    await writeFile(path, body);
  }

  async #line(file: string, row: Row): Promise<void> {
    const path = join(this.#folder, file);
    const line = `${JSON.stringify(row)}\n`;
    if (this.#begun.has(file)) return appendFile(path, line);
    this.#begun.add(file);
    await makeFolder(dirname(path));
    await writeFile(path, line);
  }
}
