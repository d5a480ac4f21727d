/**
 * What makes logits of the cosines between texts and pictures: logit = scale * cosine + bias. One graph of both towers holds it, and it is
 * read from its answers; graphs of one tower each hold it nowhere, so that `config.json` says it, or what CLIP has learned counts.
 */
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';

/** From cosine to logit. */
export interface Temperature {
  readonly scale: number;
  readonly bias: number;
}

/** The parameters of PyTorch's model of these names, where somebody has written them into `config.json`. */
export const temperatureConfig = {
  /** ln of the scale. */
  logit_scale: z.number().max(10).nullish(),
  logit_bias: z.number().nullish(),
};

/** What CLIP's training allows at most, and its released models have reached (arXiv:2103.00020 2.5). */
const CLIP_SCALE = 100;

/** @throws MODEL_INVALID for sigmoids: without their bias every probability would be wrong */
export function saidTemperature(
  config: z.infer<z.ZodObject<typeof temperatureConfig>>,
  isSigmoid: boolean,
): Temperature {
  const { logit_scale: scale, logit_bias: bias } = config;
  if (isSigmoid && (scale == null || bias == null))
    throw new AppError(
      'MODEL_INVALID',
      'its two graphs do not hold what makes probabilities of similarities: export both towers as one model.onnx, or write logit_scale and logit_bias of the PyTorch model into its config.json',
    );
  return { scale: scale == null ? CLIP_SCALE : Math.exp(scale), bias: bias ?? 0 };
}

/** What a line through seen logits may leave over, of the largest of them. */
const RESIDUE = 1e-3;

/**
 * Scale and bias by least squares.
 *
 * @param hasBias false: the line goes through nothing, as CLIP's
 * @returns undefined where logits are made otherwise
 */
export function seenTemperature(
  cosines: readonly number[],
  logits: readonly number[],
  hasBias: boolean,
): Temperature | undefined {
  const count = cosines.length;
  const meanOf = (values: readonly number[]): number =>
    hasBias ? values.reduce((sum, value) => sum + value, 0) / count : 0;
  const [x, y] = [meanOf(cosines), meanOf(logits)];
  let [both, spread] = [0, 0];
  for (const [index, cosine] of cosines.entries()) {
    both += (cosine - x) * ((logits[index] as number) - y);
    spread += (cosine - x) ** 2;
  }
  const scale = both / spread;
  const bias = y - scale * x;
  const largest = logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  const left = cosines.map((cosine, index) => Math.abs(scale * cosine + bias - (logits[index] as number)));
  return Math.max(...left) <= RESIDUE * Math.max(1, largest) ? { scale, bias } : undefined;
}
