/** What people may choose of a model that they bring in. Of plain values, so that a command's help loads nothing to list them. */

/** How a detector's outputs are to be read, and how its picture is made. */
export const DETECTOR_FAMILIES = [
  /** DETR, YOLOS, Conditional DETR: `logits` with a "no object" class last, `pred_boxes` as cxcywh 0..1. */
  'detr',
  /** RT-DETR, D-FINE, Deformable DETR: the same outputs, each class by itself, without "no object". */
  'rt-detr',
  /** f32[N,A,5+C]: cx, cy, w, h of the grid before decoding or px, objectness, classes; BGR 0..255 in the top left corner. */
  'yolox',
  /** f32[N,A,5+C]: cxcywh px, objectness, classes; RGB 0..1 in the middle. YOLOv5, v6, v7. */
  'yolov5',
  /** f32[N,4+C,A]: cxcywh px, classes; RGB 0..1 in the middle. YOLOv8, v9, v11. */
  'yolov8',
  /** f32[N,K,6]: xyxy px, score, class; non-maximum suppression done. YOLOv10, and exports with NMS. */
  'yolov10',
  /** f32[N,Q,4+C]: cxcywh 0..1, classes 0..1; the picture warped. Ultralytics' RT-DETR. */
  'rt-detr-ultralytics',
  /** Three outputs of one picture, f32[K,4] xyxy px, i64[K] labels from 1 on, f32[K] scores; NMS done. TorchVision's SSD, Faster R-CNN, RetinaNet. */
  'torchvision',
  /** detection_boxes f32[N,K,4] ymin, xmin, ymax, xmax 0..1, detection_classes from 1 on, detection_scores; NMS done. TensorFlow's detection API. */
  'tensorflow',
] as const;

/** dtype of transformers.js -> the ending of the file's name. */
export const ENDINGS = {
  fp32: '',
  fp16: '_fp16',
  q8: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4: '_q4',
  q4f16: '_q4f16',
  bnb4: '_bnb4',
} as const;
/** Precision of an ONNX file, in the words of transformers.js. */
export type Variant = keyof typeof ENDINGS;
/** Every variant that can be asked for. */
export const VARIANTS = Object.keys(ENDINGS) as Variant[];
