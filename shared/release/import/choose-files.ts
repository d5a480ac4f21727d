/**
 * Which files of a foreign model are needed: the small ones that say what it is, and of its many ONNX variants the one that is
 * wanted. Pure. Variants are named as transformers.js names them (its `dtype`).
 */

import { AppError } from '../../runtime/errors.ts';
import { TASKS, type TaskName } from '../../tasks/tasks.ts';
import { ENDINGS, VARIANTS, type Variant } from '../folder/choices.ts';
import { FOREIGN_TASKS } from './foreign-tasks.ts';

/** File that a foreign model offers, before anything of it is fetched. */
export interface SourceFile {
  /** Relative, forward slashes. */
  readonly path: string;
  readonly bytes: number;
}

/** What a runner may read beside graphs, and what people read. */
const SMALL_FILES = new Set([
  'config.json',
  'generation_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'special_tokens_map.json',
  'modules.json',
  'config_sentence_transformers.json',
  'sentence_bert_config.json',
  'outrider.json',
]);
/** What some models name their tokens in, where there is no `tokenizer.json`. */
const VOCABULARY_FILES = new Set(['vocab.json', 'added_tokens.json']);
const TRAVELS = /^(README|LICENSE|NOTICE)[^/]*$/i;
/** `1_Pooling/config.json` of sentence-transformers. */
const MODULE_CONFIG = /^\d+_[A-Za-z]+\/config\.json$/;
/** Vocabularies of a quarter of a million words have 20 MB. */
const MAX_SMALL_BYTES = 64 * 1024 * 1024;

/** @throws INPUT_TOO_LARGE */
export function smallFiles(files: readonly SourceFile[]): SourceFile[] {
  const isFast = files.some(({ path }) => path === 'tokenizer.json');
  const chosen = files.filter(
    ({ path }) =>
      SMALL_FILES.has(path) ||
      TRAVELS.test(path) ||
      MODULE_CONFIG.test(path) ||
      (!isFast && VOCABULARY_FILES.has(path)),
  );
  for (const { path, bytes } of chosen)
    if (bytes > MAX_SMALL_BYTES)
      throw new AppError('INPUT_TOO_LARGE', `${path} has ${bytes} bytes, the limit is ${MAX_SMALL_BYTES}`);
  return chosen;
}

/** ONNX files that were chosen of a foreign model. */
export interface ChosenGraphs {
  /** The first is the model's main graph. */
  readonly graphs: readonly string[];
  /** undefined: a file of a name that no variant has. */
  readonly variant: Variant | undefined;
}

const ONE_GRAPH = [['model']] as const;
/** Where graphs lie, all of a model in one place: as transformers.js has it, and as Optimum writes them. */
const PLACES = ['onnx/', ''] as const;

/**
 * The graphs to take. Where no variant is asked for: full precision, as transformers.js does in Node; where there is none, the first
 * that there is.
 *
 * @throws MODEL_INVALID saying what there is
 */
export function chooseGraphs(
  task: TaskName,
  files: readonly SourceFile[],
  wanted: Variant | undefined,
): ChosenGraphs {
  const roles = FOREIGN_TASKS[task].graphs;
  const onnx = files.map(({ path }) => path).filter((path) => path.endsWith('.onnx'));
  if (onnx.length === 0)
    throw new AppError('MODEL_INVALID', 'it has no .onnx file; export it with Optimum or torch.onnx first');
  for (const variant of wanted ? [wanted] : VARIANTS)
    for (const stems of roles ?? ONE_GRAPH) {
      const names = stems.map((stem) => `${stem}${ENDINGS[variant]}.onnx`);
      const place = PLACES.find((one) => names.every((name) => onnx.includes(`${one}${name}`)));
      if (place !== undefined) return { graphs: names.map((name) => `${place}${name}`), variant };
    }
  // A file of any name will do where it is the only one.
  const [only, ...others] = onnx;
  if (!wanted && roles === null && only !== undefined && others.length === 0)
    return { graphs: [only], variant: undefined };
  const names = (roles ?? ONE_GRAPH).map((stems) => stems.join(' and ')).join(', or ');
  const which = wanted ? ` as ${wanted}` : '';
  throw new AppError(
    'MODEL_INVALID',
    `${task} needs ${names}${which}; there is: ${onnx.slice(0, 20).join(', ')}${halfHint(onnx)}`,
  );
}

/** What helps where half of a decoder is missing. */
const halfHint = (onnx: readonly string[]): string =>
  onnx.some((path) => path.includes('decoder_with_past_model'))
    ? '; decoder_with_past_model goes on with what decoder_model begins: put decoder_model beside it'
    : '';

/** The graph of a model that has but one, before its task is known. */
export function onlyGraph(
  files: readonly SourceFile[],
  variant: Variant | undefined,
): SourceFile | undefined {
  const [main, ...others] = files.filter(({ path }) => path.endsWith('.onnx'));
  if (main && others.length === 0) return main;
  const name = `model${ENDINGS[variant ?? 'fp32']}.onnx`;
  return PLACES.flatMap((place) => files.find(({ path }) => path === `${place}${name}`) ?? [])[0];
}

/** Whether a file beside a bare graph says how it is used: any of the small ones but our own, which is another model's. */
export const describesGraph = (path: string): boolean =>
  path !== SPEC && (SMALL_FILES.has(path) || VOCABULARY_FILES.has(path));
const SPEC = 'outrider.json';

/** Weights that lie beside their graph, by the names that exporters give them. */
export const besideGraph = (graph: string, files: readonly SourceFile[]): string[] =>
  files
    .map(({ path }) => path)
    .filter((path) => path.startsWith(graph) && /^[._]data(_\d+)?$/.test(path.slice(graph.length)));

/** Files without which no runner can serve the task. @throws MODEL_INVALID */
export function requireFiles(task: TaskName, paths: ReadonlySet<string>, hasOwnPicture: boolean): void {
  const { inputKind } = TASKS[task];
  const words = FOREIGN_TASKS[task].tokenizerFiles;
  if (words.length > 0 && !words.some((file) => paths.has(file)))
    throw new AppError(
      'MODEL_INVALID',
      `tokenizer.json is missing; save the tokenizer in its fast form (AutoTokenizer.from_pretrained(…).save_pretrained(…))`,
    );
  if (inputKind === 'image' && !hasOwnPicture && !paths.has('preprocessor_config.json'))
    throw new AppError(
      'MODEL_INVALID',
      'preprocessor_config.json is missing: without it nobody knows how the model wants its pictures',
    );
}
