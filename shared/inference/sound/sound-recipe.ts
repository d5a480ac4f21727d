/** What a model hears of a sound, by its `preprocessor_config.json`: the samples (Wav2Vec2 and its kin), or their mel spectrum (AST). */
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';
import { MelSpectrum } from './mel.ts';

/** The fields that change numbers. */
export const soundConfig = z.looseObject({
  feature_extractor_type: z.string().nullish(),
  sampling_rate: z.int().min(4_000).max(192_000).nullish(),
  do_normalize: z.boolean().nullish(),
  num_mel_bins: z.int().min(1).max(512).nullish(),
  max_length: z.int().min(1).max(10_000).nullish(),
  mean: z.number().nullish(),
  std: z.number().positive().nullish(),
});
export type SoundConfig = z.infer<typeof soundConfig>;

/** A sound as a graph takes it. */
export interface HeardSound {
  readonly data: Float32Array;
  /** Without the batch: [S] or [T,M]. */
  readonly dims: readonly number[];
  /** Not all of it was heard. */
  readonly isCut: boolean;
}

/** Steps from samples to numbers. */
export interface SoundRecipe {
  readonly samplingRate: number;
  /** @param samples f32[S] -1..1 at that rate */
  hear(samples: Float32Array): HeardSound;
}

/** Attention takes memory by the square: of a longer sound the first minute is heard. */
const MAX_SECONDS = 60;
/** transformers' own of AST: those of AudioSet. */
const AUDIO_SET = { bands: 128, frames: 1_024, mean: -4.2677393, deviation: 4.5689974 };

/** @throws MODEL_INVALID naming what cannot be followed */
export function soundRecipe(config: SoundConfig): SoundRecipe {
  const { feature_extractor_type: type = null, sampling_rate: rate } = config;
  const samplingRate = rate ?? 16_000;
  switch (type ?? 'Wav2Vec2FeatureExtractor') {
    case 'Wav2Vec2FeatureExtractor':
      return wave(samplingRate, config.do_normalize ?? true);
    case 'ASTFeatureExtractor':
      return spectrum(samplingRate, config);
    default:
      throw new AppError(
        'MODEL_INVALID',
        `preprocessor_config.json: feature_extractor_type ${type} is not supported; Wav2Vec2FeatureExtractor and ASTFeatureExtractor are`,
      );
  }
}

function wave(samplingRate: number, normalizes: boolean): SoundRecipe {
  return {
    samplingRate,
    hear(samples) {
      const heard = samples.subarray(0, MAX_SECONDS * samplingRate);
      const data = normalizes ? ofUnitVariance(heard) : heard;
      return { data, dims: [data.length], isCut: heard.length < samples.length };
    },
  };
}

/** transformers, `zero_mean_unit_var_norm`; silence stays silence. */
function ofUnitVariance(samples: Float32Array): Float32Array {
  let sum = 0;
  for (const sample of samples) sum += sample;
  const mean = sum / samples.length;
  let squares = 0;
  for (const sample of samples) squares += (sample - mean) ** 2;
  const deviation = Math.sqrt(squares / samples.length + 1e-7);
  return samples.map((sample) => (sample - mean) / deviation);
}

function spectrum(samplingRate: number, config: SoundConfig): SoundRecipe {
  const bands = config.num_mel_bins ?? AUDIO_SET.bands;
  const frames = config.max_length ?? AUDIO_SET.frames;
  const { mean: ownMean, std: ownDeviation, do_normalize: normalizes } = config;
  const [mean, deviation] = [ownMean ?? AUDIO_SET.mean, ownDeviation ?? AUDIO_SET.deviation];
  const mel = new MelSpectrum(samplingRate, bands);
  return {
    samplingRate,
    hear(samples) {
      const count = MelSpectrum.framesIn(samples.length);
      // What is missing is zeros before it is normalized, as in the reference.
      const data = new Float32Array(frames * bands);
      mel.write(samples, Math.min(count, frames), data);
      const numbers = normalizes === false ? data : data.map((value) => (value - mean) / (deviation * 2));
      return { data: numbers, dims: [frames, bands], isCut: count > frames };
    },
  };
}
