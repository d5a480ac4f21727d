/** How a window of numbers over time lies in a graph's tensor: for who imports a model, and for who runs one. Pure. */
import type { TensorSpec } from '../../tasks/tensor/signature.ts';

/** transformers' mask of what was observed, beside the window. */
const MASK = 'past_observed_mask';
const FLOATS = ['float32', 'float64'];
const MASKS = ['bool', 'float32'];

/** Inputs of a graph that takes one window. */
export interface SeriesInputs {
  /** [N,T,C], [N,C,T], or [N,K] for one channel and for what is laid out flat. */
  readonly series: TensorSpec;
  /** Which of its numbers were observed: all of them. */
  readonly mask: TensorSpec | undefined;
}

/** @returns undefined for a graph that takes anything else */
export function seriesInputs(inputs: readonly TensorSpec[]): SeriesInputs | undefined {
  const mask = inputs.find(({ name }) => name === MASK);
  const [series, ...others] = inputs.filter((one) => one !== mask);
  if (!series || others.length > 0 || !FLOATS.includes(series.type)) return undefined;
  if (mask && !MASKS.includes(mask.type)) return undefined;
  return series.dims.length === 2 || series.dims.length === 3 ? { series, mask } : undefined;
}

/** Facts by which the axes are told apart, as far as files of the model say them. */
export interface SaidOfSeries {
  readonly layout: 'channels-first' | 'channels-last' | undefined;
  readonly channels: number | undefined;
  readonly length: number | undefined;
}

/** Axes of a window in its tensor. */
export interface SeriesLayout {
  /** [N,C,T], as PyTorch's convolutions have it, instead of [N,T,C]. */
  readonly isFirst: boolean;
  /** [N,K]: time and channels in one axis. */
  readonly isFlat: boolean;
  readonly channels: number;
  /** undefined: any. */
  readonly length: number | undefined;
}

/** @returns what is not clear, or does not fit, for people */
export function seriesLayout({ name, dims }: TensorSpec, said: SaidOfSeries): SeriesLayout | string {
  const [, first = null, second = null] = dims;
  if (dims.length === 2) return flatLayout(first, said);
  const isFirst = isChannelsFirst(name, [first, second], said);
  if (isFirst === undefined)
    return `which axis of ${name} [N,${first ?? '?'},${second ?? '?'}] is time cannot be told; say "layout": "channels-last" (N,T,C) or "channels-first" (N,C,T)`;
  const [channelAxis, timeAxis] = isFirst ? [first, second] : [second, first];
  const channels = channelAxis ?? said.channels;
  if (channels === undefined) return 'how many channels it takes is nowhere said; say "feature_size"';
  if (said.channels !== undefined && said.channels !== channels)
    return `it says ${said.channels} channels, its graph takes ${channels}`;
  if (timeAxis !== null && said.length !== undefined && said.length !== timeAxis)
    return `it says a length of ${said.length}, its graph takes ${timeAxis}`;
  return { isFirst, isFlat: false, channels, length: timeAxis ?? said.length };
}

function flatLayout(axis: number | null, said: SaidOfSeries): SeriesLayout | string {
  const channels = said.channels ?? 1;
  const length = axis === null ? said.length : axis / channels;
  if (length !== undefined && (!Number.isInteger(length) || (said.length ?? length) !== length))
    return `its graph takes ${axis} numbers, which are no ${said.length ?? ''} samples of ${channels} channels`;
  if (channels > 1 && length === undefined) return 'how long a window is is nowhere said; say "max_length"';
  return { isFirst: said.layout === 'channels-first', isFlat: true, channels, length };
}

/** @returns undefined where nothing tells */
function isChannelsFirst(
  name: string,
  [first, second]: readonly [number | null, number | null],
  { layout, channels, length }: SaidOfSeries,
): boolean | undefined {
  if (layout !== undefined) return layout === 'channels-first';
  // transformers' models of time series have time first.
  if (name === 'past_values') return false;
  // A window has any length, its channels are those of the training.
  if ((first === null) !== (second === null)) return second === null;
  for (const [known, isTime] of [
    [channels, false],
    [length, true],
  ] as const) {
    if (known === undefined || (first === known) === (second === known)) continue;
    return (first === known) !== isTime;
  }
  // One channel beside many samples.
  if ((first === 1) !== (second === 1)) return first === 1;
  return undefined;
}
