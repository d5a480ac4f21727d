/**
 * The labelled examples that a model is calibrated on: a folder with a sub-folder for each label, or a file of JSON lines.
 * Everything that can be told without a model is checked here, before minutes of work; bytes are read one example at a time.
 */
import type { Dirent, Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError, systemCode } from '../../shared/runtime/errors.ts';
import { orNearest } from '../../shared/runtime/near.ts';
import { MAX_IMAGE_BYTES, MAX_TEXT_BYTES } from '../../shared/tasks/limits.ts';
import { TASKS, type TaskName } from '../../shared/tasks/tasks.ts';

/** One input with the label that is right. */
export interface LabelledExample {
  /** For people: `cat/1.jpg`, `reviews.jsonl:7`. */
  readonly name: string;
  /** One of the model's. */
  readonly label: string;
  /** @throws FILE_UNREADABLE */
  read(): Promise<Uint8Array>;
}

/** Labelled inputs of a calibration, each with the label that a person gave it. */
export interface LabelledSet {
  /** In an order that depends on nothing but names and lines. */
  readonly examples: readonly LabelledExample[];
  /** Files of the folder that were left out: hidden, not in a label's folder, or of another kind by their name. */
  readonly leftOut: number;
}

/** Task and labels that the examples have to fit. */
export interface Wanted {
  readonly task: TaskName;
  /** Of the model, in any order. */
  readonly labels: readonly string[];
}

/** Enough for any temperature; more would only take longer. */
const MAX_EXAMPLES = 100_000;
/** Twice the largest text: JSON escapes some of its characters. */
export const MAX_LINE_BYTES = 2 * MAX_TEXT_BYTES;
/** It is held in memory. */
const MAX_LINES_BYTES = 256 * 1024 * 1024;
const MAX_LABELS_SHOWN = 10;

const EXTENSIONS = {
  image: new Set(['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif']),
  text: new Set(['.txt']),
};
const MAX_BYTES = { image: MAX_IMAGE_BYTES, text: MAX_TEXT_BYTES };
type Kind = keyof typeof EXTENSIONS;

/** Kind of a task's examples; undefined where it takes neither pictures nor texts. */
export function exampleKind(task: TaskName): Kind | undefined {
  const { inputKind } = TASKS[task];
  return inputKind === 'image' || inputKind === 'text' ? inputKind : undefined;
}

/** @throws INVARIANT_BROKEN (nobody asked `exampleKind` before) */
function kindOf(task: TaskName): Kind {
  const kind = exampleKind(task);
  if (kind === undefined) throw new AppError('INVARIANT_BROKEN', `${task} takes neither pictures nor texts`);
  return kind;
}

/** @throws FILE_UNREADABLE, BAD_REQUEST (naming the folder or line, and what was expected), INPUT_TOO_LARGE */
export async function readLabelled(path: string, wanted: Wanted): Promise<LabelledSet> {
  const found = await look(path);
  if (found.isDirectory()) return ofFolder(path, wanted);
  if (extname(path).toLowerCase() !== '.jsonl')
    throw new AppError(
      'BAD_REQUEST',
      `${path} is neither a folder with one sub-folder a label nor a file of JSON lines (.jsonl)`,
    );
  if (found.size > MAX_LINES_BYTES)
    throw new AppError('INPUT_TOO_LARGE', `${path} has ${found.size} bytes, the limit is ${MAX_LINES_BYTES}`);
  return { examples: await ofLines(path, wanted), leftOut: 0 };
}

async function ofFolder(path: string, { task, labels }: Wanted): Promise<LabelledSet> {
  const kind = kindOf(task);
  const examples: LabelledExample[] = [];
  let leftOut = 0;
  for (const entry of await list(path)) {
    if (entry.name.startsWith('.') || !(await isFolder(path, entry))) {
      leftOut++;
      continue;
    }
    const label = known(entry.name, labels, join(path, entry.name));
    for (const file of await list(join(path, label))) {
      const isLeftOut = file.name.startsWith('.') || !EXTENSIONS[kind].has(extname(file.name).toLowerCase());
      if (isLeftOut) leftOut++;
      else
        addTo(
          examples,
          path,
          await ofFile(join(path, label, file.name), `${label}/${file.name}`, { kind, label }),
        );
    }
  }
  return { examples, leftOut };
}

/** `text` or `file`; whatever else a line says is not ours. */
const line = z.object({
  label: z.string(),
  text: z.string().min(1).optional(),
  file: z.string().min(1).max(4_096).optional(),
});

async function ofLines(path: string, wanted: Wanted): Promise<LabelledExample[]> {
  const bytes = await readBytes(path);
  const examples: LabelledExample[] = [];
  for (let start = 0, number = 1; start < bytes.length; number++) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    const where = `${basename(path)}:${number}`;
    if (end - start > MAX_LINE_BYTES)
      throw new AppError(
        'INPUT_TOO_LARGE',
        `${where} has ${end - start} bytes, the limit is ${MAX_LINE_BYTES}`,
      );
    const text = utf8(bytes.subarray(start, end), where);
    if (text.trim() !== '')
      addTo(examples, path, await ofLine(text, where, { ...wanted, folder: dirname(path) }));
    start = end + 1;
  }
  return examples;
}

async function ofLine(
  text: string,
  where: string,
  { task, labels, folder }: Wanted & { readonly folder: string },
): Promise<LabelledExample> {
  const kind = kindOf(task);
  const said = parsed(text, where);
  const label = known(said.label, labels, where);
  if ((said.text === undefined) === (said.file === undefined))
    throw new AppError('BAD_REQUEST', `${where} needs either "text" or "file"`);
  if (said.file !== undefined) return ofFile(resolve(folder, said.file), where, { kind, label });
  if (kind === 'image') throw new AppError('BAD_REQUEST', `${where} has a text, and ${task} takes pictures`);
  const body = Buffer.from(said.text ?? '');
  if (body.length > MAX_TEXT_BYTES)
    throw new AppError(
      'INPUT_TOO_LARGE',
      `${where} has a text of ${body.length} bytes, the limit is ${MAX_TEXT_BYTES}`,
    );
  return { name: where, label, read: () => Promise.resolve(body) };
}

function parsed(text: string, where: string): z.infer<typeof line> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new AppError('BAD_REQUEST', `${where} is not JSON`, { cause: error });
  }
  const result = line.safeParse(json);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || 'line'}: ${issue.message}`);
  throw new AppError('BAD_REQUEST', `${where}: ${problems.join('; ')}`);
}

async function ofFile(
  path: string,
  name: string,
  { kind, label }: { readonly kind: 'image' | 'text'; readonly label: string },
): Promise<LabelledExample> {
  const found = await look(path, name);
  if (!found.isFile()) throw new AppError('FILE_UNREADABLE', `${name} is no file`);
  const { size } = found;
  if (size > MAX_BYTES[kind])
    throw new AppError('INPUT_TOO_LARGE', `${name} has ${size} bytes, the limit is ${MAX_BYTES[kind]}`);
  return { name, label, read: () => readBytes(path) };
}

function addTo(examples: LabelledExample[], path: string, example: LabelledExample): void {
  examples.push(example);
  if (examples.length > MAX_EXAMPLES)
    throw new AppError('INPUT_TOO_LARGE', `${path} has over ${MAX_EXAMPLES.toLocaleString('en')} examples`);
}

function known(label: string, labels: readonly string[], where: string): string {
  if (labels.includes(label)) return label;
  const more = labels.length > MAX_LABELS_SHOWN ? `, and ${labels.length - MAX_LABELS_SHOWN} more` : '';
  throw new AppError(
    'BAD_REQUEST',
    `${where}: the model has no label “${label}”; it has ${labels.slice(0, MAX_LABELS_SHOWN).join(', ')}${more}${orNearest(label, labels)}`,
  );
}

function utf8(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new AppError('BAD_REQUEST', `${where} is not UTF-8`, { cause: error });
  }
}

/** Byte-sorted, as no locale has a say in which half an example falls. */
async function list(path: string): Promise<Dirent[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  return entries.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

const isFolder = async (parent: string, entry: Dirent): Promise<boolean> =>
  entry.isDirectory() || (entry.isSymbolicLink() && (await look(join(parent, entry.name))).isDirectory());

async function look(path: string, name = path): Promise<Stats> {
  return stat(path).catch((error: unknown) => {
    throw unreadable(name, error);
  });
}

async function readBytes(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
}

const unreadable = (name: string, error: unknown): AppError =>
  new AppError(
    'FILE_UNREADABLE',
    systemCode(error) === 'ENOENT' ? `there is no ${name}` : `${name} cannot be read`,
    { cause: error },
  );
