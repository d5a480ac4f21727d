/** A model that makes one vector of a text, as sentence-transformers makes it: what feature extraction and sentence similarity share. */
import { readModelJson, textConfig } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import type { FeatureParameters } from '../../tasks/feature-extraction/schema.ts';
import { requireFinite } from '../graph/finite.ts';
import type { ModelSource, RunControl } from '../runner/task-model.ts';
import { type Floats, mainOutput } from '../tensor/floats.ts';
import { pool, readSentenceRecipe, type SentenceRecipe } from './sentence-recipe.ts';
import { type EncodedText, loadTextReader, type TextReader } from './text.ts';
import { loadTextGraph, type TextGraph } from './text-graph.ts';

/** A vector that the graph has pooled itself. */
const POOLED = 'sentence_embedding';

/** How a text is read. */
type ReadOptions = Pick<FeatureParameters, 'prompt_name' | 'truncate' | 'truncation_direction'>;

/** A loaded model of sentences. */
export interface SentenceEncoder {
  readonly graph: TextGraph;
  readonly recipe: SentenceRecipe;
  /** @throws INPUT_EMPTY, INPUT_INVALID (too long, and may not be cut), PARAMETERS_INVALID (a prompt that isn't there) */
  read(text: string, options: ReadOptions): EncodedText;
  /** What the graph gives for each text, until `vectorOf` makes one vector of it. */
  run(texts: readonly EncodedText[], control?: RunControl): Promise<Floats[]>;
  /** f64[D], before it is normalized. @throws MODEL_INVALID, OUTPUT_NOT_FINITE */
  vectorOf(states: Floats | undefined, text: EncodedText): Float64Array;
}

/** @throws MODEL_INVALID */
export async function loadSentenceEncoder(source: ModelSource): Promise<SentenceEncoder> {
  const config = await readModelJson(source.folder, 'config.json', textConfig);
  const recipe = await readSentenceRecipe(source.folder);
  const reader = await loadTextReader(source.folder, config, recipe.maxTokens);
  const graph = await loadTextGraph(source, reader.padId);
  const isPooled = graph.outputs.some(({ name }) => name === POOLED);
  const output = isPooled ? POOLED : mainOutput(graph.outputs, source.spec.output, 'last_hidden_state');
  const isPerToken = graph.outputs.find(({ name }) => name === output)?.dims.length === 3;
  return {
    graph,
    recipe,
    read: (text, options) => readText(reader, recipe, text, options),
    run: (texts, control) => graph.run(texts, output, isPerToken ? 'token' : 'text', control),
    vectorOf: (states, text) => vectorOf(states, text, recipe),
  };
}

/** @throws INPUT_EMPTY, INPUT_INVALID (too long, and may not be cut), PARAMETERS_INVALID (a prompt that isn't there) */
function readText(
  reader: TextReader,
  { prompts, defaultPrompt, lowers }: SentenceRecipe,
  text: string,
  { prompt_name: name = defaultPrompt, truncate = true, truncation_direction: side }: ReadOptions,
): EncodedText {
  const prompt = name === undefined ? '' : Object.hasOwn(prompts, name) ? prompts[name] : undefined;
  if (prompt === undefined) {
    const known = Object.keys(prompts).join(', ') || 'none';
    throw new AppError('PARAMETERS_INVALID', `prompt_name: the model has no ${name}; it has ${known}`);
  }
  const whole = prompt + text;
  const encoded = reader.encode(lowers ? whole.toLowerCase() : whole, side);
  if (encoded.isTruncated && !truncate)
    throw new AppError('INPUT_INVALID', `the text has more than ${reader.room} tokens, what the model reads`);
  return encoded;
}

/** f64[D]. @throws MODEL_INVALID, OUTPUT_NOT_FINITE */
function vectorOf(
  states: Floats | undefined,
  { ids }: EncodedText,
  { pooling }: SentenceRecipe,
): Float64Array {
  if (states) requireFinite(states.data, 'the numbers');
  if (states?.dims.length === 1) return Float64Array.from(states.data);
  const width = states?.dims[1];
  if (states?.dims.length === 2 && states.dims[0] === ids.length && width)
    return pool(states.data, width, pooling);
  throw new AppError('MODEL_INVALID', `the graph gives [${states?.dims}] for ${ids.length} tokens`);
}
