/**
 * Whisper: an encoder that hears a window (30 s), a decoder that writes. A longer sound is heard window after window, each where
 * the last whole sentence of the one before has ended, as Python's `WhisperForConditionalGeneration.generate` does it.
 */
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import type { Recognized, SpeechParameters } from '../../tasks/automatic-speech-recognition/schema.ts';
import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import type { Encoded } from '../generation/decoder.ts';
import { generateTokens } from '../generation/generate-tokens.ts';
import {
  type Generator,
  loadGenerator,
  loadSoundReader,
  type SoundReader,
} from '../generation/generation.ts';
import { requireScores } from '../graph/finite.ts';
import type { Answer, ModelSource, RunControl } from '../runner/task-model.ts';
import type { Listener } from './listener.ts';
import { stampRules } from './time-stamps.ts';

/** What we read of `generation_config.json`. */
const whisperSettings = z.looseObject({
  decoder_start_token_id: z.int(),
  eos_token_id: z.union([
    z.int(),
    z
      .array(z.int())
      .min(1)
      .transform(([first]) => first as number),
  ]),
  no_timestamps_token_id: z.int().nullish(),
  is_multilingual: z.boolean().nullish(),
  lang_to_id: z.record(z.string(), z.int()).nullish(),
  task_to_id: z.record(z.string(), z.int()).nullish(),
  language: z.string().nullish(),
  task: z.string().nullish(),
  max_initial_timestamp_index: z.int().nullish(),
  max_length: z.int().positive().nullish(),
});
type WhisperSettings = z.infer<typeof whisperSettings>;

/** Of a decoder whose configuration does not say. */
const DEFAULT_POSITIONS = 448;

interface Model {
  readonly generator: Generator;
  readonly reader: SoundReader;
  readonly settings: WhisperSettings;
  readonly windowSamples: number;
  /** Samples between two time stamps, 0.02 s. */
  readonly stampSamples: number;
  /** Stamps in a window. */
  readonly windowStamps: number;
}

/** A part of a sound with its tokens; `end` undefined: it was not closed. In stamps of the whole sound. */
interface Segment {
  readonly start: number;
  readonly end: number | undefined;
  readonly tokens: readonly number[];
}

/** @throws MODEL_INVALID */
export async function loadWhisper(source: ModelSource): Promise<Listener> {
  const generator = await loadGenerator(source, 'speech');
  const reader = await loadSoundReader(source.folder);
  const settings = await readModelJson(source.folder, 'generation_config.json', whisperSettings);
  const windowStamps = generator.config.max_source_positions;
  const { maxSamples } = reader;
  if (!windowStamps || !maxSamples)
    throw new AppError(
      'MODEL_INVALID',
      'config.json and preprocessor_config.json do not say how long a window is',
    );
  const model: Model = {
    ...{ generator, reader, settings, windowStamps },
    windowSamples: maxSamples,
    stampSamples: maxSamples / windowStamps,
  };
  return {
    executionProvider: generator.executionProvider,
    samplingRate: reader.samplingRate,
    check({ return_timestamps, language }) {
      if (language !== undefined && languageToken(settings, language) === undefined)
        throw new AppError('PARAMETERS_INVALID', `language: this model does not know ${language}`);
      if (return_timestamps === true && settings.no_timestamps_token_id == null)
        throw new AppError('PARAMETERS_INVALID', 'return_timestamps: this model knows no time stamps');
    },
    hear: (samples, parameters, control) => hear(model, samples, { parameters, control }),
  };
}

interface Asked {
  readonly parameters: SpeechParameters;
  readonly control: RunControl | undefined;
}

async function hear(model: Model, samples: Float32Array, asked: Asked): Promise<Answer> {
  const { settings, windowSamples, windowStamps, stampSamples } = model;
  const wantsStamps = asked.parameters.return_timestamps === true;
  const isLong = samples.length > windowSamples;
  // Without time stamps nobody knows where a sentence has ended.
  const usesStamps = (wantsStamps || isLong) && settings.no_timestamps_token_id != null;
  // Of a short sound the silence after it is heard too, as in Python.
  const total = isLong ? samples.length / stampSamples : windowStamps;
  const segments: Segment[] = [];
  const means: number[] = [];
  let language: number | undefined;
  for (let seek = 0; seek < total; ) {
    const from = Math.round(seek * stampSamples);
    const { data, dims } = await model.reader.features(samples.subarray(from, from + windowSamples));
    const encoded = await model.generator.read({ name: 'input_features', data, dims });
    language ??= await languageOf(model, encoded, asked.parameters.language);
    const heard = await write(model, encoded, { ...asked, language, usesStamps });
    if (heard.tokens.length === 0) break;
    means.push(heard.mean);
    const window = Math.min(windowStamps, total - seek);
    if (!usesStamps) {
      segments.push({ start: seek, end: undefined, tokens: heard.tokens });
      seek += window;
      continue;
    }
    const { found, advance } = segmentsOf(heard.tokens, settings.no_timestamps_token_id as number, window);
    for (const { start, end, tokens } of found)
      segments.push({ start: seek + start, end: end === undefined ? undefined : seek + end, tokens });
    // A window that says it ends where it began would be heard for ever.
    seek += advance > 0 ? advance : window;
  }
  return {
    output: toOutput(model, segments, wantsStamps),
    read: { seconds: samples.length / model.reader.samplingRate, language: languageName(settings, language) },
    routeScore:
      means.length === 0 ? ROUTE_SCORE_FLOOR : means.reduce((sum, one) => sum + one, 0) / means.length,
  };
}

/** @returns undefined for a model of one language */
async function languageOf(
  { generator, settings }: Model,
  encoded: Encoded,
  asked: string | undefined,
): Promise<number | undefined> {
  const { is_multilingual, lang_to_id, decoder_start_token_id: start } = settings;
  const language = asked ?? settings.language;
  if (is_multilingual !== true || !lang_to_id) return undefined;
  const named = language && languageToken(settings, language);
  if (typeof named === 'number') return named;
  const stepper = generator.begin(encoded, generator.settings({}), 1);
  const logits = await stepper.next([[start]]);
  requireScores(logits, 'the logits');
  const codes = Object.values(lang_to_id);
  return codes.reduce(
    (best, code) => ((logits[code] ?? -1e9) > (logits[best] ?? -1e9) ? code : best),
    codes[0] ?? start,
  );
}

/** @returns undefined for one that the model does not know, and of a model of one language */
function languageToken(
  { is_multilingual, lang_to_id }: WhisperSettings,
  language: string,
): number | undefined {
  if (is_multilingual !== true || !lang_to_id) return undefined;
  const name = [`<|${language}|>`, language].find((one) => Object.hasOwn(lang_to_id, one));
  return name === undefined ? undefined : lang_to_id[name];
}

/** `en` of `<|en|>`. */
const languageName = ({ lang_to_id }: WhisperSettings, token: number | undefined): string | undefined =>
  Object.entries(lang_to_id ?? {})
    .find(([, id]) => id === token)?.[0]
    .replace(/^<\|(.*)\|>$/, '$1');

/** One window's tokens, without the end token. */
async function write(
  { generator, settings }: Model,
  encoded: Encoded,
  {
    parameters,
    control,
    language,
    usesStamps,
  }: Asked & { language: number | undefined; usesStamps: boolean },
): Promise<{ tokens: readonly number[]; mean: number }> {
  const { decoder_start_token_id: start, task_to_id, task, no_timestamps_token_id: noStamps } = settings;
  const prompt = [start];
  if (language !== undefined) {
    prompt.push(language);
    const job = task_to_id?.[task ?? 'transcribe'];
    if (job !== undefined) prompt.push(job);
  }
  if (!usesStamps && noStamps != null) prompt.push(noStamps);
  const over = parameters.generation_parameters ?? {};
  // Of Whisper's own length the prompt is no part.
  const maxNewTokens = over.max_new_tokens ?? over.max_length ?? settings.max_length;
  const found = await generateTokens(generator, {
    encoded,
    prompt,
    parameters: { ...over, ...(maxNewTokens != null && { max_new_tokens: maxNewTokens }) },
    positions: generator.config.max_target_positions ?? DEFAULT_POSITIONS,
    control,
    ...(usesStamps &&
      noStamps != null && {
        rules: stampRules({
          noStamps,
          endToken: settings.eos_token_id,
          begin: prompt.length,
          maxFirst: settings.max_initial_timestamp_index ?? undefined,
        }),
      }),
  });
  const tokens = found.tokens.at(-1) === settings.eos_token_id ? found.tokens.slice(0, -1) : found.tokens;
  return { tokens, mean: found.meanLogprob };
}

/**
 * Sentences by their time stamps: two stamps side by side end one and begin the next (Python: `_retrieve_segment`).
 *
 * @param window stamps that were heard
 * @returns in stamps of this window, and how far the next window is
 */
function segmentsOf(
  tokens: readonly number[],
  noStamps: number,
  window: number,
): { found: Segment[]; advance: number } {
  const first = noStamps + 1;
  const isStamp = tokens.map((token) => token >= first);
  const borders = tokens.flatMap((_, at) => (at > 0 && isStamp[at - 1] && isStamp[at] ? [at] : []));
  const endsWithOne = isStamp.at(-1) === true && isStamp.at(-2) === false;
  if (borders.length === 0) {
    const last = tokens.findLast((token) => token >= first);
    const end = last === undefined || last === first ? undefined : last - first;
    const start = isStamp[0] ? (tokens[0] as number) - first : 0;
    return { found: [{ start, end, tokens }], advance: window };
  }
  const slices = endsWithOne ? [...borders, tokens.length] : borders;
  const found = slices.map((to, index): Segment => {
    const slice = tokens.slice(slices[index - 1] ?? 0, to);
    return { start: (slice[0] as number) - first, end: (slice.at(-1) as number) - first, tokens: slice };
  });
  return { found, advance: endsWithOne ? window : (found.at(-1)?.end ?? window) };
}

function toOutput(
  { generator, settings, stampSamples, reader }: Model,
  segments: readonly Segment[],
  wantsStamps: boolean,
): Recognized {
  const { tokens } = generator;
  const noStamps = settings.no_timestamps_token_id ?? Number.POSITIVE_INFINITY;
  const write = (ids: readonly number[]): string => tokens.write(ids.filter((id) => id <= noStamps));
  // All together: a character may have its bytes on both sides of a border.
  const text = write(segments.flatMap((segment) => segment.tokens));
  if (!wantsStamps) return { text };
  const seconds = (stamps: number): number =>
    Number(((stamps * stampSamples) / reader.samplingRate).toFixed(2));
  return {
    text,
    chunks: segments.map((segment) => ({
      text: write(segment.tokens),
      timestamp: [seconds(segment.start), segment.end === undefined ? null : seconds(segment.end)],
    })),
  };
}
