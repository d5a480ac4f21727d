/**
 * Reads RIFF WAVE files: PCM of 8, 16, 24 and 32 bits, and floats of 32 and 64; channels are mixed into one. Ours, because the
 * packages for it scale positive samples otherwise than Python's readers, or are no longer looked after. Pure.
 */
import { AppError } from '../../runtime/errors.ts';

/** A decoded sound of one channel. */
export interface Sound {
  /** f32[S] -1..1, the mean of the channels; owned by the caller. */
  readonly samples: Float32Array;
  readonly samplingRate: number;
}

/** Longer sounds are refused: they would fill the memory, and nobody waits for their text. */
const MAX_SOUND_SECONDS = 1_800;
const MAX_CHANNELS = 16;
const MAX_SAMPLING_RATE = 384_000;
const PCM = 1;
const FLOAT = 3;
/** The true format stands in the first two bytes of the sub-format. */
const EXTENSIBLE = 0xfffe;
/** Of the samples' chunk in a file that was written to a pipe. */
const UNKNOWN_SIZE = 0xffffffff;

interface Format {
  readonly code: number;
  readonly channels: number;
  readonly samplingRate: number;
  readonly bits: number;
}

/** How one sample is read, -1..1. */
type ReadSample = (view: DataView, at: number) => number;

/** Other formats by how they begin, for a message that helps. */
const OTHERS: readonly (readonly [RegExp, string])[] = [
  [/^ID3|^\xff[\xe2-\xfb]/, 'MP3'],
  [/^fLaC/, 'FLAC'],
  [/^OggS/, 'Ogg'],
  [/^.{4}ftyp/s, 'MP4'],
  [/^FORM/, 'AIFF'],
  [/^RF64|^RIFX/, 'a WAV of another kind'],
];

/** @throws AUDIO_INVALID, INPUT_TOO_LARGE (over 30 minutes) */
export function readWav(body: Uint8Array): Sound {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (ascii(body, 0, 4) !== 'RIFF' || ascii(body, 8, 12) !== 'WAVE') throw invalid(whatItIs(body));
  let format: Format | undefined;
  // Chunks: a name, a size, and so many bytes, padded to an even number.
  for (let at = 12; at + 8 <= body.length; ) {
    const name = ascii(body, at, at + 4);
    const size = view.getUint32(at + 4, true);
    if (name === 'fmt ') format = readFormat(view, at + 8, size);
    if (name === 'data') {
      if (format === undefined) throw invalid('its samples come before its format');
      const end = size === UNKNOWN_SIZE ? body.length : Math.min(body.length, at + 8 + size);
      return { samples: readSamples(view, at + 8, end, format), samplingRate: format.samplingRate };
    }
    at += 8 + size + (size % 2);
  }
  throw invalid('it has no samples');
}

function readFormat(view: DataView, at: number, size: number): Format {
  if (size < 16 || at + size > view.byteLength) throw invalid('its format is cut off');
  const code = view.getUint16(at, true);
  const format = {
    code: code === EXTENSIBLE && size >= 26 ? view.getUint16(at + 24, true) : code,
    channels: view.getUint16(at + 2, true),
    samplingRate: view.getUint32(at + 4, true),
    bits: view.getUint16(at + 14, true),
  };
  const { channels, samplingRate } = format;
  if (channels < 1 || channels > MAX_CHANNELS) throw invalid(`it has ${channels} channels`);
  if (samplingRate < 1_000 || samplingRate > MAX_SAMPLING_RATE)
    throw invalid(`it has ${samplingRate} samples a second`);
  return format;
}

function readSamples(view: DataView, from: number, end: number, format: Format): Float32Array {
  const { channels, samplingRate, bits } = format;
  const read = readerOf(format);
  const step = bits / 8;
  const count = Math.floor((end - from) / (step * channels));
  if (count < 1) throw invalid('it has no samples');
  if (count > MAX_SOUND_SECONDS * samplingRate)
    throw new AppError('INPUT_TOO_LARGE', `the sound is over ${MAX_SOUND_SECONDS / 60} minutes`);
  const samples = new Float32Array(count);
  for (let index = 0, at = from; index < count; index++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++, at += step) sum += read(view, at);
    samples[index] = sum / channels;
  }
  if (!samples.every(Number.isFinite)) throw invalid('it has samples that are no numbers');
  return samples;
}

function readerOf({ code, bits }: Format): ReadSample {
  switch (`${code}/${bits}`) {
    case `${PCM}/8`:
      return (view, at) => (view.getUint8(at) - 128) / 128;
    case `${PCM}/16`:
      return (view, at) => view.getInt16(at, true) / 2 ** 15;
    case `${PCM}/24`:
      return (view, at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 2 ** 23;
    case `${PCM}/32`:
      return (view, at) => view.getInt32(at, true) / 2 ** 31;
    case `${FLOAT}/32`:
      return (view, at) => view.getFloat32(at, true);
    case `${FLOAT}/64`:
      return (view, at) => view.getFloat64(at, true);
    default:
      throw invalid(`its samples are of format ${code} with ${bits} bits`);
  }
}

function whatItIs(body: Uint8Array): string {
  const start = ascii(body, 0, 12);
  const other = OTHERS.find(([pattern]) => pattern.test(start));
  return other ? `it is ${other[1]}` : 'it is no WAV file';
}

const invalid = (why: string): AppError =>
  new AppError('AUDIO_INVALID', `${why}; send WAV: PCM of 8, 16, 24 or 32 bits, or floats`);

const ascii = (body: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...body.subarray(from, to));
