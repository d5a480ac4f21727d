/** How a model's weights are stored and computed with, read from its graphs. Pure. */
import type { ModelSpec } from '../folder/model-spec.ts';
import type { OnnxGraph } from './onnx-graph.ts';

/** Number format of a model’s weights and sums, and what follows from it for loading and for batches. */
export interface Precision {
  readonly precision: ModelSpec['precision'];
  /** Only weights are quantized: they may be unfolded once, at load. */
  readonly foldDequantize: boolean;
  /** Scales are taken over the whole batch (FACTS: 3.9 % off): an answer depends on its neighbours. */
  readonly mixesRows: boolean;
}

/** `DynamicQuantizeLinear`, `com.microsoft:DynamicQuantizeLSTM`, `com.microsoft:DynamicQuantizeMatMul`. */
const DYNAMIC = /(^|:)DynamicQuantize/;
const FOUR_BITS = /(^|:)(MatMulNBits|MatMulBnb4|GatherBlockQuantized)$/;

/**
 * Tells from operators and weights in which number format a model computes.
 *
 * @param graphs of one model; one that is quantized makes the whole model so
 */
export function precisionOf(graphs: readonly Pick<OnnxGraph, 'operators' | 'weights'>[]): Precision {
  const uses = (operator: RegExp): boolean =>
    graphs.some(({ operators }) => [...operators].some((name) => operator.test(name)));
  if (uses(DYNAMIC)) return { precision: 'int8-dynamic', foldDequantize: false, mixesRows: true };
  if (uses(FOUR_BITS)) return { precision: 'int4-weights', foldDequantize: false, mixesRows: false };
  if (uses(/(^|:)(QuantizeLinear|QLinear\w+|MatMulInteger|ConvInteger)$/))
    return { precision: 'int8-static', foldDequantize: false, mixesRows: false };
  if (uses(/(^|:)DequantizeLinear$/))
    return { precision: 'int8-weights', foldDequantize: true, mixesRows: false };
  const count = (type: string): number =>
    graphs.reduce((sum, { weights }) => sum + (weights.get(type) ?? 0), 0);
  const precision = count('float16') > count('float32') ? 'float16' : 'float32';
  return { precision, foldDequantize: false, mixesRows: false };
}
