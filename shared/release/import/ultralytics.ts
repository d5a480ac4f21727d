/**
 * What Ultralytics writes into an ONNX file of its own: task, labels and size (`Exporter.metadata`), each as Python prints it. YOLOv5's exports
 * have labels and stride alone. Text from outside: what cannot be read is as if it were not there. Pure.
 */
import { AppError } from '../../runtime/errors.ts';
import type { TaskName } from '../../tasks/tasks.ts';
import type { DetectorFamily } from '../folder/model-spec.ts';
import type { OnnxGraph } from './onnx-graph.ts';
import { parsePython } from './python-literal.ts';

/** Metadata of an export of Ultralytics'. */
export interface Ultralytics {
  /** As it names its tasks: `detect`, `classify`, `segment`, `pose`, `obb`. */
  readonly task: string;
  /** In the order of the graph's outputs. */
  readonly labels: readonly string[] | undefined;
  /** Of its pictures. */
  readonly size: { readonly height: number; readonly width: number } | undefined;
  /** Boxes are suppressed in the graph: `nms=True`, or a model that needs none. */
  readonly isFinished: boolean;
  /** Of the makers' first generation, which says no task. */
  readonly isYolov5: boolean;
  readonly isRtDetr: boolean;
}

/** @returns undefined for a file of anybody else's */
export function ultralyticsOf({ metadata }: Pick<OnnxGraph, 'metadata'>): Ultralytics | undefined {
  const labels = labelsOf(metadata.get('names'));
  const task = metadata.get('task');
  const isYolov5 = task === undefined && labels !== undefined && metadata.has('stride');
  const isOurs = metadata.has('stride') || metadata.get('author') === 'Ultralytics';
  if (!isYolov5 && (task === undefined || !isOurs)) return undefined;
  const options = parsePython(metadata.get('args') ?? '');
  const isFinished =
    (options instanceof Map && options.get('nms') === true) || metadata.get('end2end') === 'True';
  return {
    task: task ?? 'detect',
    labels,
    size: sizeOf(metadata.get('imgsz')),
    isFinished,
    isYolov5,
    isRtDetr: /rt-?detr/i.test(metadata.get('description') ?? ''),
  };
}

/** `{0: 'person', 1: 'bicycle'}`, or a list. */
function labelsOf(text: string | undefined): string[] | undefined {
  const names = parsePython(text ?? '');
  const list = names instanceof Map ? Array.from(names, (_, index) => names.get(index)) : names;
  const isList = Array.isArray(list) && list.length > 0 && list.every((name) => typeof name === 'string');
  return isList ? (list as string[]) : undefined;
}

/** `[480, 640]`: height, width. */
function sizeOf(text: string | undefined): Ultralytics['size'] {
  const size = parsePython(text ?? '');
  const [height, width = height] = Array.isArray(size) ? size : [size];
  const isPx = (edge: unknown): edge is number =>
    typeof edge === 'number' && Number.isInteger(edge) && edge >= 1 && edge <= 8_192;
  return isPx(height) && isPx(width) ? { height, width } : undefined;
}

const TASKS: Readonly<Record<string, TaskName>> = {
  detect: 'object-detection',
  classify: 'image-classification',
};

/** @throws MODEL_INVALID for one of its tasks that none of ours is */
export function taskOfUltralytics({ task }: Ultralytics): TaskName {
  const ours = Object.hasOwn(TASKS, task) ? TASKS[task] : undefined;
  if (ours) return ours;
  throw new AppError(
    'MODEL_INVALID',
    `Ultralytics’ metadata says that it is for “${task.slice(0, 64)}”, and no task here is; with --task tensor it gives its numbers as they are`,
  );
}

/** How its boxes are written; undefined where its shape does not fit its labels. @param dims of its output */
export function familyOfUltralytics(
  { isFinished, isYolov5, isRtDetr }: Ultralytics,
  dims: readonly (number | null)[],
  labels: number,
): DetectorFamily | undefined {
  const [, second, third] = dims;
  if (isFinished && third === 6) return 'yolov10';
  if (isRtDetr) return 'rt-detr-ultralytics';
  if (isYolov5 && third === 5 + labels) return 'yolov5';
  if (second === 4 + labels) return 'yolov8';
  return third === 6 ? 'yolov10' : undefined;
}

/** As `classify_transforms` prepares a picture, in the words of `preprocessor_config.json`. */
export const classifierPreprocessor = ({ height, width }: NonNullable<Ultralytics['size']>) => ({
  do_resize: true,
  size: { shortest_edge: Math.min(height, width) },
  resample: 2,
  do_center_crop: true,
  crop_size: { height, width },
  crop_rounding: 'half-even',
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: false,
});
