/**
 * CTC models (Wav2Vec2, HuBERT …): the graph names a letter for each 20 ms; repeats are one, blanks none. A long sound is heard in
 * overlapping windows, of which the edges are dropped, as Python's pipeline does it with `chunk_length_s`.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import { type GraphEnd, graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import type { SpeechParameters } from '../../tasks/automatic-speech-recognition/schema.ts';
import {
  type Generator,
  loadGenerator,
  loadSoundReader,
  type SoundReader,
} from '../generation/generation.ts';
import { requireScores } from '../graph/finite.ts';
import { logitsOf } from '../graph/logits.ts';
import type { Answer, ModelSource } from '../runner/task-model.ts';
import type { Listener } from './listener.ts';

/** Attention takes time and memory by the square: 30 s are 1,500 frames. */
const WINDOW_SECONDS = 30;
/** Of each window heard only for what is beside it. */
const EDGE_SECONDS = 5;
/** Wav2Vec2's own strides. */
const DEFAULT_STRIDES = [5, 2, 2, 2, 2, 2, 2];

interface Model {
  readonly generator: Generator;
  readonly reader: SoundReader;
  /** Samples of one frame. */
  readonly frameSamples: number;
  /** What the graph has made of its logits. */
  readonly end: GraphEnd;
  /** The token between words. */
  readonly space: number | undefined;
}

const ctcTokenizer = z.looseObject({ word_delimiter_token: z.string().nullish() });

/** @throws MODEL_INVALID */
export async function loadCtc(source: ModelSource): Promise<Listener> {
  const generator = await loadGenerator(source, 'ctc');
  const reader = await loadSoundReader(source.folder);
  const frameSamples = (generator.config.conv_stride ?? DEFAULT_STRIDES).reduce(
    (product, one) => product * one,
    1,
  );
  const { word_delimiter_token: delimiter } = await readModelJson(
    source.folder,
    'tokenizer_config.json',
    ctcTokenizer,
  );
  const end = await graphEnd(join(source.folder, source.spec.model), 'logits');
  const model = { generator, reader, frameSamples, end, space: generator.tokens.id(delimiter ?? '|') };
  return {
    executionProvider: generator.executionProvider,
    samplingRate: reader.samplingRate,
    check: refuseWriting,
    hear: async (samples) => ({
      ...(await hear(model, samples)),
      read: { seconds: samples.length / reader.samplingRate },
    }),
  };
}

async function hear(model: Model, samples: Float32Array): Promise<Answer> {
  const best: number[] = [];
  let certainty = 0;
  for await (const { frames, words } of framesOf(model, samples))
    for (let at = 0; at < frames.length; at += words) {
      const scores = frames.subarray(at, at + words);
      requireScores(scores, 'the logits');
      const { token, logprob } = likeliest(scores);
      best.push(token);
      certainty += logprob;
    }
  return {
    output: { text: write(model, best) },
    routeScore: best.length === 0 ? 0 : certainty / best.length,
  };
}

/** Repeats are one; blanks and other special tokens say nothing. The library's decoder would join what a blank keeps apart. */
function write({ generator, space }: Model, frames: readonly number[]): string {
  const { library, specialIds } = generator.tokens;
  const pieces = frames
    .filter((token, at) => token !== frames[at - 1] && !specialIds.has(token))
    .map((token) => (token === space ? ' ' : library.decode([token])));
  return pieces.join('').trim();
}

/** f32[T,V] of each window, without its edges. */
async function* framesOf(
  { generator, reader, frameSamples, end: graphsEnd }: Model,
  samples: Float32Array,
): AsyncGenerator<{ frames: Float32Array; words: number }> {
  const whole = Math.floor((WINDOW_SECONDS * reader.samplingRate) / frameSamples) * frameSamples;
  const edge = Math.floor((EDGE_SECONDS * reader.samplingRate) / frameSamples) * frameSamples;
  const step = whole - 2 * edge;
  for (let from = 0; from === 0 || from + 2 * edge < samples.length; from += step) {
    const isLast = from + whole >= samples.length;
    const made = await generator.logits({
      input_values: await reader.features(samples.slice(from, from + whole)),
    });
    const [, count = 0, words = 1] = made.dims;
    const skip = from === 0 ? 0 : edge / frameSamples;
    const end = isLast ? count : (whole - edge) / frameSamples;
    const data = made.data.subarray(skip * words, end * words);
    yield { frames: logitsOf({ data, dims: [data.length / words, words] }, graphsEnd).data, words };
    if (isLast) return;
  }
}

/** @param scores f32[V] */
function likeliest(scores: Float32Array): { token: number; logprob: number } {
  let token = 0;
  for (let at = 1; at < scores.length; at++)
    if ((scores[at] as number) > (scores[token] as number)) token = at;
  const top = scores[token] as number;
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - top);
  return { token, logprob: -Math.log(sum) };
}

/** @throws PARAMETERS_INVALID */
function refuseWriting(parameters: SpeechParameters): void {
  const { generation_parameters: settings = {}, return_timestamps, language } = parameters;
  if (language !== undefined)
    throw new AppError(
      'PARAMETERS_INVALID',
      'language: this model hears the one language that it was taught',
    );
  if (return_timestamps === true)
    throw new AppError(
      'PARAMETERS_INVALID',
      'return_timestamps: this model hears letters and knows no sentences',
    );
  if (Object.keys(settings).length > 0)
    throw new AppError('PARAMETERS_INVALID', 'generation_parameters: this model does not generate');
}
