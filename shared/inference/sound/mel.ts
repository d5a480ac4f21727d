/**
 * Log mel spectrum of a sound as Kaldi makes it (`fbank`), which is what the Audio Spectrogram Transformer has learned from: frames without
 * their mean, pre-emphasis, Hann window, power spectrum, triangles on the mel scale, natural logarithm. Pure. The reference is
 * transformers' `audio_utils.spectrogram` with the settings of `ASTFeatureExtractor`.
 */

/** Samples of a frame and of a step, 25 and 10 ms at 16 kHz; transformers takes them at any rate. */
const FRAME_SAMPLES = 400;
const STEP_SAMPLES = 160;
const FFT_SAMPLES = 512;
const BINS = FFT_SAMPLES / 2 + 1;
const PREEMPHASIS = 0.97;
const LEAST_HZ = 20;
/** Below it a filter heard nothing: the epsilon of 32-bit floats. */
const FLOOR = 1.192092955078125e-7;

/** Makes spectra of one rate and width. */
export class MelSpectrum {
  readonly #bands: number;
  /** Of each band: its first bin, and the weight of that and of those after it. */
  readonly #filters: readonly { readonly from: number; readonly weights: Float64Array }[];
  readonly #window = Float64Array.from(
    { length: FRAME_SAMPLES },
    (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / (FRAME_SAMPLES - 1)),
  );
  readonly #real = new Float64Array(FFT_SAMPLES);
  readonly #imaginary = new Float64Array(FFT_SAMPLES);
  readonly #power = new Float64Array(BINS);

  constructor(samplingRate: number, bands: number) {
    this.#bands = bands;
    this.#filters = filtersOf(samplingRate, bands);
  }

  /** How many frames a sound of so many samples has. */
  static framesIn(samples: number): number {
    return Math.max(0, 1 + Math.floor((samples - FRAME_SAMPLES) / STEP_SAMPLES));
  }

  /** Writes f32[T,M] of the first frames into its place. @param target f32[count,M] */
  write(samples: Float32Array, count: number, target: Float32Array): void {
    for (let frame = 0; frame < count; frame++) {
      this.#transform(samples, frame * STEP_SAMPLES);
      for (const [band, { from, weights }] of this.#filters.entries()) {
        let sum = 0;
        for (let at = 0; at < weights.length; at++)
          sum += (weights[at] as number) * (this.#power[from + at] as number);
        target[frame * this.#bands + band] = Math.log(Math.max(FLOOR, sum));
      }
    }
  }

  #transform(samples: Float32Array, from: number): void {
    const [real, imaginary] = [this.#real, this.#imaginary];
    real.fill(0);
    imaginary.fill(0);
    let mean = 0;
    for (let at = 0; at < FRAME_SAMPLES; at++) mean += samples[from + at] as number;
    mean /= FRAME_SAMPLES;
    for (let at = 0; at < FRAME_SAMPLES; at++) {
      const sample = (samples[from + at] as number) - mean;
      // The first has none before it, and is taken for its own.
      const before = at === 0 ? sample : (samples[from + at - 1] as number) - mean;
      real[at] = (sample - PREEMPHASIS * before) * (this.#window[at] as number);
    }
    fourier(real, imaginary);
    for (let bin = 0; bin < BINS; bin++)
      this.#power[bin] = (real[bin] as number) ** 2 + (imaginary[bin] as number) ** 2;
  }
}

/** Kaldi's. */
const melOf = (hz: number): number => 1127 * Math.log(1 + hz / 700);

/** transformers, `mel_filter_bank` with `mel_scale="kaldi"` and `triangularize_in_mel_space=True`. */
function filtersOf(samplingRate: number, bands: number): { from: number; weights: Float64Array }[] {
  const [least, most] = [melOf(LEAST_HZ), melOf(Math.floor(samplingRate / 2))];
  const edge = (index: number): number => least + ((most - least) * index) / (bands + 1);
  const mels = Array.from({ length: BINS }, (_, bin) => melOf((samplingRate / FFT_SAMPLES) * bin));
  return Array.from({ length: bands }, (_, band) => {
    const [left, middle, right] = [edge(band), edge(band + 1), edge(band + 2)];
    const all = mels.map((mel) =>
      Math.max(0, Math.min((mel - left) / (middle - left), (right - mel) / (right - middle))),
    );
    const from = Math.max(
      0,
      all.findIndex((weight) => weight > 0),
    );
    const to = all.findLastIndex((weight) => weight > 0);
    return { from, weights: Float64Array.from(all.slice(from, to + 1)) };
  });
}

/** Discrete Fourier transform in place, by halves (Cooley and Tukey, 1965). @param real a power of two of them */
function fourier(real: Float64Array, imaginary: Float64Array): void {
  const count = real.length;
  for (let index = 1, mirrored = 0; index < count; index++) {
    let bit = count >> 1;
    for (; mirrored & bit; bit >>= 1) mirrored ^= bit;
    mirrored ^= bit;
    if (index < mirrored) {
      [real[index], real[mirrored]] = [real[mirrored] as number, real[index] as number];
      [imaginary[index], imaginary[mirrored]] = [imaginary[mirrored] as number, imaginary[index] as number];
    }
  }
  for (let size = 2; size <= count; size *= 2) {
    const half = size / 2;
    for (let step = 0; step < half; step++) {
      const angle = (-2 * Math.PI * step) / size;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let low = step; low < count; low += size) {
        const high = low + half;
        const [a, b] = [real[high] as number, imaginary[high] as number];
        const [x, y] = [a * cos - b * sin, a * sin + b * cos];
        real[high] = (real[low] as number) - x;
        imaginary[high] = (imaginary[low] as number) - y;
        real[low] = (real[low] as number) + x;
        imaginary[low] = (imaginary[low] as number) + y;
      }
    }
  }
}
