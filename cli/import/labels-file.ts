/** Labels of a model as people keep them in a file: lines, or JSON as Hugging Face, Keras and others write it. */
import { readFile } from 'node:fs/promises';
import { AppError, unreadable } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { writtenText } from '../../shared/runtime/written-text.ts';

const MAX_LABELS_BYTES = 4 * 1024 * 1024;

/**
 * One a line, with its number before it or without, or JSON: a list, `{"0": "cat"}`, a `config.json` with `id2label` or `label2id`, or `{"cat": 0}`, as Keras writes its
 * `class_indices`.
 *
 * @throws FILE_UNREADABLE
 */
export async function readLabels(path: string): Promise<string[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (bytes.length > MAX_LABELS_BYTES)
    throw new AppError('FILE_UNREADABLE', `${path} has over ${MAX_LABELS_BYTES} bytes`);
  const text = writtenText(bytes);
  if (text === undefined)
    throw new AppError('FILE_UNREADABLE', `${path} is no text: labels are to be in UTF-8 or UTF-16`);
  const json = tryParseJson(Buffer.from(text));
  const labels = typeof json === 'object' && json !== null ? fromJson(path, json) : fromLines(text);
  if (labels.length > 0 && labels.every((label) => typeof label === 'string' && label !== ''))
    return labels as string[];
  throw new AppError(
    'FILE_UNREADABLE',
    `${path} is no list of labels: one a line, with its number before it or without, or JSON as ["cat"], {"0": "cat"} or {"cat": 0}`,
  );
}

function fromLines(text: string): string[] {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const byNumber = new Map<number, string>();
  for (const line of lines) {
    const { number, quoted, label } = NUMBERED.exec(line)?.groups ?? {};
    if (number !== undefined) byNumber.set(Number(number), quoted?.replaceAll('""', '"') ?? label ?? '');
  }
  // Each number once, and none left out: they are the numbers of the outputs, and no part of their names.
  const isNumbered = lines.every((_, index) => byNumber.has(index));
  return isNumbered ? lines.map((_, index) => byNumber.get(index) ?? '') : lines;
}

/** `0,ant`, `0: ant`, `0<tab>ant`, `0 ant`, `0,"ant, red"` */
const NUMBERED = /^(?<number>\d{1,6})(?:\s*[,;:]\s*|\s+)(?:"(?<quoted>(?:[^"]|"")+)"|(?<label>.+))$/;

function fromJson(path: string, json: object): unknown[] {
  if (Array.isArray(json)) return json;
  const map = new Map(Object.entries(inner(json)));
  const isByName = [...map.values()].every((value) => typeof value === 'number');
  const byIndex = isByName ? new Map([...map].map(([name, index]) => [String(index), name])) : map;
  if (byIndex.size < map.size) throw new AppError('FILE_UNREADABLE', `${path} gives two labels one number`);
  // Those of TensorFlow's detection API begin at 1, and leave numbers out: 0 is the background.
  const isFromOne = !byIndex.has('0') && byIndex.has('1');
  const count = isFromOne ? Math.max(...[...byIndex.keys()].map(Number)) + 1 : byIndex.size;
  if (!(count <= MAX_LABELS))
    throw new AppError('FILE_UNREADABLE', `${path} numbers its labels beyond ${MAX_LABELS}`);
  return Array.from({ length: count }, (_, index) => {
    const label = byIndex.get(String(index));
    // Keras' `imagenet_class_index.json`: ["n01440764", "tench"].
    if (label !== undefined) return Array.isArray(label) ? label.at(-1) : label;
    if (isFromOne) return index === 0 ? '__background__' : `LABEL_${index}`;
    throw new AppError('FILE_UNREADABLE', `${path} has no label "${index}"`);
  });
}

const MAX_LABELS = 100_000;

/** The labels of a whole `config.json`. */
function inner(json: object): object {
  for (const key of ['id2label', 'label2id'])
    if (key in json) {
      const found = (json as Record<string, unknown>)[key];
      if (typeof found === 'object' && found !== null) return found;
    }
  return json;
}
