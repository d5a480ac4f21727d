/** From the bytes of a sound to the samples that a model hears. Pure. */
import { resample } from './resample.ts';
import { readWav } from './wav.ts';

/** Shorter sounds are filled up with silence: a graph's convolutions need so much. */
const MIN_SECONDS = 0.1;

/** @returns f32[S] -1..1 at that rate, one channel @throws AUDIO_INVALID, INPUT_TOO_LARGE */
export function readSound(body: Uint8Array, samplingRate: number): Float32Array {
  const sound = readWav(body);
  const samples = resample(sound.samples, sound.samplingRate, samplingRate);
  const least = Math.ceil(MIN_SECONDS * samplingRate);
  if (samples.length >= least) return samples;
  const longer = new Float32Array(least);
  longer.set(samples);
  return longer;
}
