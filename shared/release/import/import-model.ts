/**
 * Brings a model of anybody's into a folder of ours, checked and described in its `outrider.json`: the story of `models pull`, and of
 * a push of a folder that has none. Nothing is loaded here; who imports tries the folder in a runner of its own.
 *
 * list -> small files -> which task -> which graphs -> fetch -> read the graphs -> check against the task -> outrider.json
 */

import { basename, join } from 'node:path';
import { z } from 'zod';
import { modelName } from '../../contract/names.ts';
import { writeFileAtomic } from '../../runtime/atomic-file.ts';
import { AppError, textOf } from '../../runtime/errors.ts';
import { parsePythonJson } from '../../runtime/json.ts';
import { readIfThere } from '../../runtime/read-file.ts';
import type { TaskName } from '../../tasks/tasks.ts';
import type { Variant } from '../folder/choices.ts';
import { type ModelFolder, openModelFolder, SPEC_FILE, versionFilesOf } from '../folder/model-folder.ts';
import { type ModelSpec, modelSpec } from '../folder/model-spec.ts';
import { besideGraph, chooseGraphs, onlyGraph, type SourceFile, smallFiles } from './choose-files.ts';
import { type Described, describeModel, notesOf, type Said } from './describe-model.ts';
import { checkGraphs, checkOperators, externalFilesOf } from './graph-check.ts';
import { type OnnxGraph, readOnnxGraph } from './onnx-graph.ts';
import { type ForeignConfig, foreignConfig, type Guess, guessTask } from './task-guess.ts';
import { taskOfUltralytics, ultralyticsOf } from './ultralytics.ts';

/** Source of a foreign model: a folder, a file, a hub. */
export interface ImportSource {
  /** For people: `hf:org/name@main`, `./folder`. */
  readonly title: string;
  readonly suggestedName: string;
  /** @throws FILE_UNREADABLE, or what the hub says */
  list(): Promise<readonly SourceFile[]>;
  /** Puts a file into the folder, going on with what came before. @throws as list, DOWNLOAD_INCOMPLETE, DISK_FULL */
  fetch(file: SourceFile, folder: string, onBytes: (bytes: number) => void): Promise<void>;
}

/** Folder for the files of an import, how large they may be, and what it was told of them. */
export interface ImportOptions extends Said {
  readonly name?: string | undefined;
  /** Instead of what the folder tells. */
  readonly task?: TaskName | undefined;
  readonly variant?: Variant | undefined;
  /** An input of its owner’s, by the path of its file. */
  readonly example?: string | undefined;
  /** Of all files together. */
  readonly maxBytes: number;
  /** An empty folder, or one that an earlier try has left. */
  readonly folder: string;
  /** Bytes that will come in all, as soon as that is known. */
  readonly onTotal: (bytes: number) => void;
  readonly onBytes: (bytes: number) => void;
}

/** Folder that an import has made, ready to be tried in a runner. */
export interface Imported {
  readonly folder: ModelFolder;
  /** What people should know: from what the task was told, why batching is off. */
  readonly notes: readonly string[];
}

/** @throws MODEL_INVALID, MODEL_DIGEST_MISMATCH, INPUT_TOO_LARGE, USAGE, and as `ImportSource` */
export async function importModel(source: ImportSource, options: ImportOptions): Promise<Imported> {
  try {
    return await follow(source, options);
  } catch (error) {
    throw namedBySource(error, source, options.folder);
  }
}

/** Of what is wrong with a model: who imports knows its name, and not where it is tried. */
export function namedBySource(
  error: unknown,
  { title }: Pick<ImportSource, 'title'>,
  folder: string,
): unknown {
  if (!(error instanceof AppError) || !ABOUT_THE_MODEL.has(error.code)) return error;
  const place = basename(folder);
  const message = error.message
    .replaceAll(`${folder}/`, '')
    .replaceAll(`${place}/`, '')
    .replaceAll(`${place}: `, '')
    .replaceAll(`${place} `, 'it ');
  return new AppError(error.code, message.startsWith(`${title}: `) ? message : `${title}: ${message}`, {
    cause: error,
  });
}

const ABOUT_THE_MODEL: ReadonlySet<string> = new Set([
  'MODEL_INVALID',
  'MODEL_SELF_TEST_FAILED',
  'OUTPUT_NOT_FINITE',
  'OUTPUT_NOT_TEXT',
]);

async function follow(source: ImportSource, options: ImportOptions): Promise<Imported> {
  const { folder } = options;
  const files = await source.list();
  const small = smallFiles(files);
  refuseTooLarge(small, options);
  for (const file of small) await source.fetch(file, folder, () => undefined);
  const own = await ownSpec(folder);
  if (own) return takeOurs(source, files, { ...options, spec: own });

  const config = await readConfig(folder);
  const paths = pathsOf(small);
  if (!paths.has(PREPROCESSOR) && (await unfoldProcessor(folder))) paths.add(PREPROCESSOR);
  const { guess, fetched } = await taskOf(source, { config, files, small }, options);
  const { graphs, variant } = chooseGraphs(guess.task, files, options.variant);
  const wanted = graphs.flatMap((graph) => [graph, ...besideGraph(graph, files)]);
  await fetchAll(source, pick(files, wanted), { ...options, already: fetched });
  const read = await readGraphs(
    source,
    { files, fetched: [...fetched, ...pick(files, wanted)], graphs },
    options,
  );
  const { described, labels, preprocessor } = describeModel(
    { task: guess.task, config, graphs, read, paths },
    options,
  );
  if (labels) await writeLabels(folder, config, labels);
  if (preprocessor) await writeJson(join(folder, PREPROCESSOR), preprocessor);
  await writeSpec(folder, { ...described, name: nameOf(source, options) });
  return { folder: await openModelFolder(folder), notes: notesOf(guess, variant, { described, read }) };
}

/** Ours already: what it says is checked, and nothing is guessed. */
async function takeOurs(
  source: ImportSource,
  files: readonly SourceFile[],
  options: ImportOptions & { readonly spec: ModelSpec },
): Promise<Imported> {
  const { spec, folder } = options;
  for (const [flag, value] of Object.entries({
    task: options.task,
    family: options.family,
    labels: options.labels,
    output: options.output,
    variant: options.variant,
    example: options.example,
  }))
    if (value !== undefined)
      throw new AppError(
        'USAGE',
        `${source.title} has an ${SPEC_FILE}, which says it all: leave --${flag} out`,
      );
  const small = smallFiles(files);
  const graphs = [spec.model, ...spec.graphs].flatMap((graph) => [graph, ...besideGraph(graph, files)]);
  const wanted = pick(files, [...Object.keys(spec.files), ...graphs]);
  await fetchAll(source, wanted, { ...options, already: small });
  if (options.name !== undefined && options.name !== spec.name)
    await writeFileAtomic(
      join(folder, SPEC_FILE),
      `${JSON.stringify({ ...spec, name: options.name }, null, 2)}\n`,
    );
  await checkGraphs(folder, spec);
  return { folder: await openModelFolder(folder), notes: [`described by its own ${SPEC_FILE}`] };
}

async function ownSpec(folder: string): Promise<ModelSpec | undefined> {
  const bytes = await readIfThere(join(folder, SPEC_FILE));
  if (bytes === undefined) return undefined;
  const parsed = modelSpec.safeParse(jsonOf(SPEC_FILE, bytes));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AppError('MODEL_INVALID', `${SPEC_FILE}: ${issue?.path.join('.') || 'top'}: ${issue?.message}`);
}

/** @throws MODEL_INVALID naming the file, the line and the column */
function jsonOf(file: string, bytes: Uint8Array): unknown {
  try {
    return parsePythonJson(bytes);
  } catch (error) {
    throw new AppError('MODEL_INVALID', `${file}: ${textOf(error)}`, { cause: error });
  }
}

/** @returns undefined where the folder has none, as a bare graph @throws MODEL_INVALID */
async function readConfig(folder: string): Promise<ForeignConfig | undefined> {
  const bytes = await readIfThere(join(folder, 'config.json'));
  if (bytes === undefined) return undefined;
  const parsed = foreignConfig.safeParse(jsonOf('config.json', bytes));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AppError('MODEL_INVALID', `config.json: ${issue?.path.join('.') || 'top'}: ${issue?.message}`);
}

const PREPROCESSOR = 'preprocessor_config.json';
const processor = z.looseObject({
  image_processor: z.looseObject({}).optional(),
  feature_extractor: z.looseObject({}).optional(),
});

/** transformers 5 keeps what `preprocessor_config.json` said within `processor_config.json`. @returns whether it was there */
async function unfoldProcessor(folder: string): Promise<boolean> {
  const bytes = await readIfThere(join(folder, 'processor_config.json'));
  const found = bytes && processor.safeParse(jsonOf('processor_config.json', bytes)).data;
  const own = found && (found.image_processor ?? found.feature_extractor);
  if (!own) return false;
  await writeJson(join(folder, PREPROCESSOR), own);
  return true;
}

/** @throws MODEL_INVALID where nothing tells it */
async function taskOf(
  source: ImportSource,
  of: { config: ForeignConfig | undefined; files: readonly SourceFile[]; small: readonly SourceFile[] },
  options: ImportOptions,
): Promise<{ readonly guess: Guess; readonly fetched: readonly SourceFile[] }> {
  const { task, folder } = options;
  if (task) return { guess: { task, from: '--task' }, fetched: of.small };
  const card = (await readIfThere(join(folder, 'README.md')))?.toString('utf8');
  const guess = guessTask({ config: of.config, files: pathsOf(of.files), card });
  if (guess) return { guess, fetched: of.small };
  // The last that may tell is the graph itself, where there is but one.
  const graph = onlyGraph(of.files, options.variant);
  if (graph) {
    await fetchAll(source, [graph], { ...options, already: of.small });
    const ultralytics = ultralyticsOf(await readOnnxGraph(join(folder, graph.path)));
    if (ultralytics)
      return {
        guess: { task: taskOfUltralytics(ultralytics), from: 'Ultralytics’ metadata in its graph' },
        fetched: [...of.small, graph],
      };
  }
  const said = of.config?.architectures?.join(', ');
  throw new AppError(
    'MODEL_INVALID',
    `what it is for cannot be told from ${said ? `“${said}” in config.json` : 'its files'}; say it with --task`,
  );
}

/** Reads every graph, and fetches the weights that it names beside itself. */
async function readGraphs(
  source: ImportSource,
  of: { files: readonly SourceFile[]; fetched: readonly SourceFile[]; graphs: readonly string[] },
  options: ImportOptions,
): Promise<OnnxGraph[]> {
  const read: OnnxGraph[] = [];
  const have = pathsOf(of.fetched);
  for (const graph of of.graphs) {
    const one = await readOnnxGraph(join(options.folder, graph));
    checkOperators(graph, one);
    for (const path of externalFilesOf(graph, one)) {
      if (have.has(path)) continue;
      const [file] = pick(of.files, [path]);
      if (!file) throw new AppError('MODEL_INVALID', `${graph} takes weights from ${path}, which is missing`);
      if (!travels(path))
        throw new AppError(
          'MODEL_INVALID',
          `${graph} takes weights from ${path}, a name that does not travel with its version`,
        );
      await fetchAll(source, [file], { ...options, already: of.fetched });
    }
    read.push(one);
  }
  return read;
}

/** @throws USAGE */
function nameOf(source: ImportSource, { name }: ImportOptions): string {
  const wanted = name ?? source.suggestedName;
  if (modelName.safeParse(wanted).success) return wanted;
  throw new AppError('USAGE', `“${wanted}” is no model name; give it one with --name`);
}

async function writeLabels(
  folder: string,
  config: ForeignConfig | undefined,
  labels: readonly string[],
): Promise<void> {
  const id2label = Object.fromEntries(labels.map((label, index) => [String(index), label]));
  const document = { ...config, id2label };
  await writeJson(join(folder, 'config.json'), document);
}

const writeJson = (path: string, document: object): Promise<void> =>
  writeFileAtomic(path, `${JSON.stringify(document, null, 2)}\n`);

/** With the digest of every file that a runner reads. */
async function writeSpec(folder: string, described: Described & { readonly name: string }): Promise<void> {
  const { name, task, ...rest } = described;
  const draft = modelSpec.parse({ schema: 1, name, task, ...rest, files: {} });
  const files = await versionFilesOf({ path: folder, spec: draft });
  const read = files.filter(({ path }) => path !== SPEC_FILE && !/^(README|LICENSE|NOTICE)/i.test(path));
  const document = {
    ...{ schema: 1, name, task, ...rest, golden: [] },
    files: Object.fromEntries(read.map(({ path, sha256 }) => [path, sha256])),
  };
  await writeFileAtomic(join(folder, SPEC_FILE), `${JSON.stringify(document, null, 2)}\n`);
}

async function fetchAll(
  source: ImportSource,
  files: readonly SourceFile[],
  options: ImportOptions & { readonly already: readonly SourceFile[] },
): Promise<void> {
  const have = pathsOf(options.already);
  const missing = files.filter(({ path }) => !have.has(path));
  refuseTooLarge([...options.already, ...missing], options);
  options.onTotal(missing.reduce((sum, { bytes }) => sum + bytes, 0));
  for (const file of missing) await source.fetch(file, options.folder, options.onBytes);
}

function refuseTooLarge(files: readonly SourceFile[], { maxBytes }: ImportOptions): void {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > maxBytes)
    throw new AppError(
      'INPUT_TOO_LARGE',
      `its files have ${bytes} bytes together, the limit is ${maxBytes}; choose a smaller --variant or raise --max-size`,
    );
}

/** Those of the list, in the order asked for; what it does not have is left out. */
const pick = (files: readonly SourceFile[], paths: readonly string[]): SourceFile[] =>
  [...new Set(paths)].flatMap((path) => files.find((file) => file.path === path) ?? []);

/** Weights of any name travel with their graph, but for hidden ones and those that pass for a graph of another version. */
const travels = (path: string): boolean =>
  !path.endsWith('.onnx') && !path.split('/').some((part) => part.startsWith('.'));

const pathsOf = (files: readonly SourceFile[]): Set<string> => new Set(files.map(({ path }) => path));
