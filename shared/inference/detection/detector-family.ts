/** The family of a detector that is being loaded: what its outputs must look like, and what they tell where `outrider.json` does not. Pure. */
import { tellFamily } from '../../release/folder/detector-family.ts';
import type { DetectorFamily } from '../../release/folder/model-spec.ts';
import { AppError } from '../../runtime/errors.ts';
import type { Floats } from '../tensor/floats.ts';

/** Boxes of one label that overlap more are one; each family's own default. undefined: the family does without suppression. */
export const IOU_THRESHOLDS: Readonly<Record<DetectorFamily, number | undefined>> = {
  detr: undefined,
  'rt-detr': undefined,
  // Demo of YOLOX, `multiclass_nms`; detect.py of YOLOv5.
  yolox: 0.45,
  yolov5: 0.45,
  // ultralytics, `iou` of predict.
  yolov8: 0.7,
  yolov10: undefined,
  'rt-detr-ultralytics': undefined,
  torchvision: undefined,
  tensorflow: undefined,
};

/**
 * @param rows f32[1,...] of the first run: logits, or the only output
 * @param hasBoxes whether there is an output `pred_boxes`
 * @param labels how many config.json names
 * @throws MODEL_INVALID
 */
export function familyOf(rows: Floats, hasBoxes: boolean, labels: number): DetectorFamily {
  const told = tellFamily(rows.dims, hasBoxes, labels);
  if ('family' in told) return told.family;
  throw new AppError('MODEL_INVALID', `${told.unclear}: say detector.family in outrider.json`);
}

/** @throws MODEL_INVALID when the outputs are not of that form */
export function checkFamily(
  family: DetectorFamily,
  rows: Floats,
  boxes: Floats | undefined,
  labels: number,
): void {
  const [, second, third] = rows.dims;
  const fits: Readonly<Record<DetectorFamily, boolean>> = {
    detr: third === labels + 1 && boxes?.dims[2] === 4 && boxes.dims[1] === second,
    'rt-detr': third === labels && boxes?.dims[2] === 4 && boxes.dims[1] === second,
    yolox: third === 5 + labels,
    yolov5: third === 5 + labels,
    yolov8: second === 4 + labels,
    yolov10: third === 6,
    'rt-detr-ultralytics': third === 4 + labels,
    // Put together from their outputs (finished-outputs.ts).
    torchvision: third === 6,
    tensorflow: third === 6,
  };
  if (rows.dims.length === 3 && fits[family]) return;
  throw new AppError(
    'MODEL_INVALID',
    `the graph gives [${rows.dims}], which is not ${family} with the ${labels} labels of config.json`,
  );
}
