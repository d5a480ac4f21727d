/** Outputs of a detector that has suppressed and ranked its boxes itself, told from their names, types and shapes. Pure. */
import type { TensorSpec } from '../../tasks/tensor/signature.ts';

/** Which output of such a detector is what. */
export interface FinishedOutputs {
  readonly family: 'torchvision' | 'tensorflow';
  readonly boxes: string;
  readonly scores: string;
  readonly labels: string;
  /** How many of the boxes are meant; undefined where all are. */
  readonly count: string | undefined;
}

/** @returns undefined for any other graph */
export function finishedOutputs(outputs: readonly TensorSpec[]): FinishedOutputs | undefined {
  return ofTensorFlow(outputs) ?? ofTorchVision(outputs);
}

/** TensorFlow's detection API names them; its first version adds `:0`. */
function ofTensorFlow(outputs: readonly TensorSpec[]): FinishedOutputs | undefined {
  const named = (name: string): string | undefined =>
    outputs.find((output) => output.name.replace(/:0$/, '') === name)?.name;
  const boxes = named('detection_boxes');
  const scores = named('detection_scores');
  const labels = named('detection_classes');
  if (boxes === undefined || scores === undefined || labels === undefined) return undefined;
  return { family: 'tensorflow', boxes, scores, labels, count: named('num_detections') };
}

/** TorchVision's have any names, an order of their own in each model, and no axis for a batch. */
function ofTorchVision(outputs: readonly TensorSpec[]): FinishedOutputs | undefined {
  const only = (fits: (output: TensorSpec) => boolean): string | undefined => {
    const [found, ...others] = outputs.filter(fits);
    return others.length === 0 ? found?.name : undefined;
  };
  const boxes = only(({ type, dims }) => type === 'float32' && dims.length === 2 && dims[1] === 4);
  const scores = only(({ type, dims }) => type === 'float32' && dims.length === 1);
  const labels = only(({ type, dims }) => type === 'int64' && dims.length === 1);
  if (boxes === undefined || scores === undefined || labels === undefined) return undefined;
  return { family: 'torchvision', boxes, scores, labels, count: undefined };
}
