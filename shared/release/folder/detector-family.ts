/** Which family a detector is of, told from the shapes of its outputs: for who imports one, and for who runs one. Pure. */
import type { DetectorFamily } from './model-spec.ts';

/**
 * @param dims of the logits, or of the only output; null is a dynamic axis
 * @param hasBoxes whether there is an output `pred_boxes`
 * @param labels how many the model has
 * @returns the family, or why it cannot be told
 */
export function tellFamily(
  dims: readonly (number | null)[],
  hasBoxes: boolean,
  labels: number,
): { readonly family: DetectorFamily } | { readonly unclear: string } {
  const [, second, third] = dims;
  const shape = `[${dims.map((dim) => dim ?? '?')}]`;
  if (hasBoxes) {
    if (third === labels + 1) return { family: 'detr' };
    if (third === labels) return { family: 'rt-detr' };
    return { unclear: `logits ${shape} fit neither ${labels} labels nor ${labels + 1}` };
  }
  if (dims.length === 3) {
    if (second === 4 + labels && third !== 5 + labels) return { family: 'yolov8' };
    if (third === 6 && labels !== 1) return { family: 'yolov10' };
    if (third === 4 + labels) return { family: 'rt-detr-ultralytics' };
    if (third === 5 + labels) return { unclear: `an output ${shape} may be of yolox or of yolov5` };
  }
  return { unclear: `an output ${shape} is of no family that is known, with ${labels} labels` };
}
