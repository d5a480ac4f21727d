/** `zero-shot-image-classification`: a picture and labels of the asker's own, compared as CLIP and SigLIP do it; each text is read once. */
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import { pictureRecipe, preprocessorConfig } from '../../release/folder/picture-recipe.ts';
import { AppError } from '../../runtime/errors.ts';
import { routeScoreOf } from '../../tasks/classification.ts';
import { bestFirst } from '../../tasks/judging/best-first.ts';
import { sigmoid, softmax } from '../../tasks/probability.ts';
import { zeroShotImageParameters } from '../../tasks/zero-shot-image-classification/schema.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import { readPicture } from '../picture/image.ts';
import type { Answer, ModelSource, RunControl, TaskModel } from '../runner/task-model.ts';
import { inTemplate } from '../text/template.ts';
import { loadTextReader, type TextReader, type TextRow } from '../text/text.ts';
import {
  saidTemperature,
  seenTemperature,
  type Temperature,
  temperatureConfig,
} from '../towers/temperature.ts';
import { loadTowers, type Towers } from '../towers/two-towers.ts';
import { VectorCache } from '../towers/vector-cache.ts';

/** transformers' own. */
const USUAL_TEMPLATE = 'This is a photo of {}.';
/** Positions of the text tower where config.json leaves out its default. */
const USUAL_POSITIONS = { clip: 77, siglip: 64 };
/** Vectors of texts that are kept, 16 MiB: eight thousand texts of 512 numbers. */
const MAX_CACHED_NUMBERS = 2 ** 22;
/** Texts from which on a request takes turns. */
const LONG_TEXTS = 64;

const towersConfig = z.looseObject({
  model_type: z.string().nullish(),
  text_config: z
    .looseObject({
      max_position_embeddings: z.int().positive().nullish(),
      pad_token_id: z.int().min(0).nullish(),
    })
    .nullish(),
  ...temperatureConfig,
});

interface PreparedPicture {
  /** u8[H,W,3] RGB */
  readonly pixels: Uint8Array;
  readonly labels: readonly string[];
  /** Of each label in its sentence. */
  readonly texts: readonly string[];
  readonly rows: ReadonlyMap<string, TextRow>;
}

/** @throws MODEL_INVALID */
export async function loadZeroShotImageClassification(
  source: ModelSource,
): Promise<TaskModel<PreparedPicture>> {
  const { folder } = source;
  const config = await readModelJson(folder, 'config.json', towersConfig);
  const isSigmoid = config.model_type?.startsWith('siglip') === true;
  const recipe = pictureRecipe(await readModelJson(folder, 'preprocessor_config.json', preprocessorConfig));
  const { max_position_embeddings, pad_token_id } = config.text_config ?? {};
  const positions = max_position_embeddings ?? USUAL_POSITIONS[isSigmoid ? 'siglip' : 'clip'];
  const reader = await loadTextReader(
    folder,
    { pad_token_id: pad_token_id ?? null, max_position_embeddings: positions },
    positions,
  );
  const filledTo = isSigmoid ? positions : undefined;
  const towers = await loadTowers(source, recipe, { padId: reader.padId, filledTo });
  const bytes = 3 * recipe.output.widthPx * recipe.output.heightPx;
  const temperature =
    towers.logits === undefined
      ? saidTemperature(config, isSigmoid)
      : await tried(towers, reader, { bytes, isSigmoid });
  const cache = new VectorCache(MAX_CACHED_NUMBERS);
  const own = { towers, temperature, cache, isSigmoid };

  const model: TaskModel<PreparedPicture> = {
    maxBatchSize: towers.maxBatchSize,
    executionProvider: towers.executionProvider,
    async prepare({ body, parameters }) {
      const { candidate_labels: labels, hypothesis_template: template = USUAL_TEMPLATE } =
        zeroShotImageParameters.parse(parameters);
      const texts = labels.map((label) => inTemplate(label, template));
      const rows = new Map(texts.map((text, index) => [text, rowOf(reader, text, index)]));
      return { pixels: await readPicture(body, recipe), labels, texts, rows };
    },
    shapeKey: () => 'one',
    isLong: ({ texts }) => texts.length >= LONG_TEXTS,
    async run(batch, control) {
      const logits = await logitsOf(own, batch, control);
      return answerEach(batch, ({ labels }, index) => answerOf(labels, logits[index] ?? [], isSigmoid));
    },
  };
  const rows = new Map([['a', rowOf(reader, 'a', 0)]]);
  await model.run([{ pixels: new Uint8Array(bytes), labels: ['a'], texts: ['a'], rows }]);
  return model;
}

/** @throws PARAMETERS_INVALID */
function rowOf(reader: TextReader, text: string, index: number): TextRow {
  const tokens = reader.tokens(text, reader.room + 1);
  if (tokens.length === 0)
    throw new AppError('PARAMETERS_INVALID', `candidate_labels.${index}: with the template it is blank`);
  if (tokens.length > reader.room)
    throw new AppError(
      'PARAMETERS_INVALID',
      `candidate_labels.${index}: with the template it has over ${reader.room} tokens, what the model reads`,
    );
  return reader.frame(tokens);
}

interface Own {
  readonly towers: Towers;
  /** undefined: how the graph makes logits cannot be told, and it is asked each time. */
  readonly temperature: Temperature | undefined;
  readonly cache: VectorCache;
}

/** f[T] for each picture. @throws MODEL_INVALID, OUTPUT_NOT_FINITE (a text), EXPIRED */
async function logitsOf(
  { towers, temperature, cache }: Own,
  batch: readonly PreparedPicture[],
  control: RunControl | undefined,
): Promise<(readonly number[])[]> {
  if (temperature === undefined) {
    const each: number[][] = [];
    for (const { pixels, texts, rows } of batch) {
      control?.onStep();
      const asked = texts.map((text) => rows.get(text) as TextRow);
      each.push(Array.from((await towers.logits?.(asked, pixels)) ?? []));
    }
    return each;
  }
  // Kept for this run, whatever the cache lets go meanwhile.
  const vectors = new Map<string, Float32Array>();
  const missing = new Map<string, TextRow>();
  for (const { rows } of batch)
    for (const [text, row] of rows) {
      const known = cache.get(text);
      if (known) vectors.set(text, known);
      else missing.set(text, row);
    }
  const made = await towers.texts([...missing.values()], control);
  for (const [index, text] of [...missing.keys()].entries()) {
    const vector = made[index] as Float32Array;
    vectors.set(text, vector);
    cache.put(text, vector);
  }
  control?.onStep();
  const seen = await towers.pictures(batch.map(({ pixels }) => pixels));
  const { scale, bias } = temperature;
  return batch.map(({ texts }, index) =>
    texts.map((text) => scale * dot(vectors.get(text), seen[index]) + bias),
  );
}

/** Reads the temperature from what the graph says of a few texts and two pictures. */
async function tried(
  towers: Towers,
  reader: TextReader,
  { bytes, isSigmoid }: { readonly bytes: number; readonly isSigmoid: boolean },
): Promise<Temperature | undefined> {
  const rows = ['a', 'a photo of a cat', 'the sea at night', 'one two three'].map((text) =>
    reader.frame(reader.tokens(text, reader.room + 1).slice(0, reader.room)),
  );
  const pictures = [new Uint8Array(bytes), Uint8Array.from({ length: bytes }, (_, at) => at)];
  try {
    const words = await towers.texts(rows);
    const cosines: number[] = [];
    const logits: number[] = [];
    for (const pixels of pictures) {
      const [seen] = await towers.pictures([pixels]);
      cosines.push(...words.map((word) => dot(word, seen)));
      logits.push(...((await towers.logits?.(rows, pixels)) ?? []));
    }
    return seenTemperature(cosines, logits, isSigmoid);
  } catch {
    // Graphs that tie texts to pictures, or do not tell their vectors: asked as they are each time.
    return undefined;
  }
}

function dot(a: Float32Array | undefined, b: Float32Array | undefined): number {
  if (a === undefined || b === undefined || a.length !== b.length)
    throw new AppError('MODEL_INVALID', `a text has ${a?.length} numbers, a picture ${b?.length}`);
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] as number) * (b[at] as number);
  return sum;
}

/** @throws OUTPUT_NOT_FINITE */
function answerOf(labels: readonly string[], logits: readonly number[], isSigmoid: boolean): Answer {
  requireFinite(logits, 'the logits');
  const scores = isSigmoid ? logits.map(sigmoid) : softmax(logits);
  return {
    output: bestFirst(labels.map((label, index) => ({ label, score: scores[index] ?? 0 }))),
    routeScore: routeScoreOf(Float32Array.from(logits), isSigmoid),
  };
}
