/** What is told of a foreign model from its graphs and its configuration: what stands in its `outrider.json`, or why it is refused. Pure. */

import { AppError } from '../../runtime/errors.ts';
import { TASKS, type TaskName } from '../../tasks/tasks.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import type { Variant } from '../folder/choices.ts';
import { tellFamily } from '../folder/detector-family.ts';
import { finishedOutputs } from '../folder/finished-outputs.ts';
import type { DetectorFamily, ModelSpec } from '../folder/model-spec.ts';
import { pictureLayout } from '../folder/picture-layout.ts';
import { requireFiles } from './choose-files.ts';
import { chooseOutput } from './choose-output.ts';
import { FOREIGN_TASKS } from './foreign-tasks.ts';
import type { OnnxGraph } from './onnx-graph.ts';
import { precisionOf } from './precision.ts';
import { checkSignature } from './signature-check.ts';
import type { ForeignConfig, Guess } from './task-guess.ts';
import { timmOf } from './timm.ts';
import {
  classifierPreprocessor,
  familyOfUltralytics,
  type Ultralytics,
  ultralyticsOf,
} from './ultralytics.ts';

/** Description of a foreign model by its owner. */
export interface Said {
  readonly family?: DetectorFamily | undefined;
  /** In the order of the graph's logits, instead of those in `config.json`. */
  readonly labels?: readonly string[] | undefined;
  /** Which output holds the answers. */
  readonly output?: string | undefined;
}

/** Findings about a foreign model, in the form in which its `outrider.json` takes them. */
export interface Described {
  readonly task: TaskName;
  readonly model: string;
  readonly graphs: readonly string[];
  readonly signature: Pick<OnnxGraph, 'inputs' | 'outputs'>;
  readonly output?: string;
  readonly detector?: ModelSpec['detector'];
  readonly precision: ModelSpec['precision'];
  readonly foldDequantize: boolean;
  readonly batch: ModelSpec['batch'];
}

/** Findings, with the files of a folder that its exporter has left out and that follow from its graph. */
export interface Description {
  readonly described: Described;
  /** For its `config.json`; undefined where that has them, or none are needed. */
  readonly labels: readonly string[] | undefined;
  /** For its `preprocessor_config.json`; undefined where it is there, or none is needed. */
  readonly preprocessor: object | undefined;
}

/** Rows of a batch of somebody else's model; its speed hardly gains beyond. */
const BATCH_SIZE = 16;

/** @throws MODEL_INVALID */
export function describeModel(
  of: {
    task: TaskName;
    config: ForeignConfig | undefined;
    graphs: readonly string[];
    read: readonly OnnxGraph[];
    paths: ReadonlySet<string>;
  },
  said: Said,
): Description {
  const { task, config, graphs, read, paths } = of;
  const [model, ...rest] = graphs as [string, ...string[]];
  const [main] = read as [OnnxGraph, ...OnnxGraph[]];
  const { inputs, outputs } = main;
  const ultralytics = ultralyticsOf(main);
  const timm = timmOf(config);
  const written = said.labels ?? (hasLabels(config) ? undefined : (ultralytics?.labels ?? timm?.labels));
  const labels = FOREIGN_TASKS[task].needsLabels ? labelCount(config, written) : undefined;
  const output = chooseOutput(task, main, { said: said.output, labels });
  checkSignature(task, { inputs, outputs: output ? [output] : outputs }, { file: model, labels });
  const boxes = { main, output, labels: labels ?? 0, ultralytics };
  const family = task === 'object-detection' ? familyOf(boxes, said) : undefined;
  const preprocessor = paths.has(PREPROCESSOR)
    ? undefined
    : timm && OF_TIMM.has(task)
      ? timm.preprocessor()
      : preprocessorOf(task, main, ultralytics);
  const isOwnFamily = family !== undefined && family !== 'detr' && family !== 'rt-detr';
  requireFiles(task, paths, isOwnFamily || preprocessor !== undefined);
  const { precision, foldDequantize, mixesRows } = precisionOf(read);
  const isBatchable = !mixesRows && inputs.every(({ dims }) => dims[0] === null) && !finishedOutputs(outputs);
  const size = family && ultralytics?.size;
  return {
    described: {
      task,
      model,
      graphs: rest,
      signature: { inputs, outputs },
      ...(output && { output: output.name }),
      ...(family && { detector: { family, ...(size && { inputSize: size }) } }),
      precision,
      foldDequantize,
      batch: isBatchable ? { safe: true, maxSize: BATCH_SIZE } : { safe: false, maxSize: 1 },
    },
    labels: labels === undefined ? said.labels : written,
    preprocessor,
  };
}

const PREPROCESSOR = 'preprocessor_config.json';
const OF_TIMM: ReadonlySet<TaskName> = new Set<TaskName>([
  'image-classification',
  'image-feature-extraction',
]);

/** What a classifier's picture must be like, where its graph leaves nothing open: bytes of one size, or as Ultralytics makes it. */
function preprocessorOf(
  task: TaskName,
  { inputs }: OnnxGraph,
  ultralytics: Ultralytics | undefined,
): object | undefined {
  const layout = task === 'image-classification' && inputs[0] ? pictureLayout(inputs[0]) : undefined;
  if (!layout) return undefined;
  const { heightPx: height, widthPx: width } = layout;
  const size = height !== null && width !== null ? { height, width } : undefined;
  const own = size ?? ultralytics?.size;
  if (ultralytics) return own && classifierPreprocessor(own);
  if (layout.type !== 'uint8' || !size) return undefined;
  return { do_resize: true, size, resample: 2, do_rescale: false, do_normalize: false };
}

const hasLabels = (config: ForeignConfig | undefined): boolean =>
  Object.keys(config?.id2label ?? {}).length > 0;

/** @throws MODEL_INVALID */
function labelCount(config: ForeignConfig | undefined, written: readonly string[] | undefined): number {
  const count = written?.length ?? Object.keys(config?.id2label ?? {}).length;
  if (count > 0) return count;
  throw new AppError(
    'MODEL_INVALID',
    'its labels are nowhere named (id2label in config.json); give them with --labels FILE, one a line, in the order of the graph’s outputs',
  );
}

/** What tells how a detector writes its boxes. */
interface Boxes {
  readonly main: OnnxGraph;
  readonly output: TensorSpec | undefined;
  readonly labels: number;
  readonly ultralytics: Ultralytics | undefined;
}

/** @throws MODEL_INVALID */
function familyOf(
  { main: { outputs }, output, labels, ultralytics }: Boxes,
  { family }: Said,
): DetectorFamily {
  if (family) return family;
  const finished = finishedOutputs(outputs);
  if (finished) return finished.family;
  const main = output ?? outputs.find(({ name }) => name === 'logits') ?? outputs[0];
  const dims = main?.dims ?? [];
  const own = ultralytics && familyOfUltralytics(ultralytics, dims, labels);
  if (own) return own;
  const told = tellFamily(
    dims,
    outputs.some(({ name }) => name === 'pred_boxes'),
    labels,
  );
  if ('family' in told) return told.family;
  throw new AppError(
    'MODEL_INVALID',
    `how its boxes are written cannot be told: ${told.unclear}; say it with --family`,
  );
}

/** Notes for people about an imported model. */
export function notesOf(
  guess: Guess,
  variant: Variant | undefined,
  { described, read }: { readonly described: Described; readonly read: readonly OnnxGraph[] },
): string[] {
  const { precision, batch, task } = described;
  return [
    `${task}, told from ${guess.from}`,
    ...(variant && variant !== 'fp32'
      ? [`variant ${variant}: there is no full precision, or it was asked for`]
      : []),
    ...(precision === 'int8-dynamic'
      ? ['dynamic quantization: an answer would depend on its neighbours, so batching is off']
      : []),
    ...(precision !== 'int8-dynamic' && !batch.safe ? ['its first axis is fixed: batching is off'] : []),
    ...(TASKS[task].runsOn === 'hub' ? ['runs in the hub alone'] : []),
    ...(decodesWithoutCache(described, read)
      ? [
          'its decoder takes no cache, so that each token costs more than the one before: exported with its past (Optimum: --task …-with-past) it is faster',
        ]
      : []),
  ];
}

function decodesWithoutCache({ task, model, graphs }: Described, read: readonly OnnxGraph[]): boolean {
  const hasDecoder =
    task === 'text-generation' || [model, ...graphs].some((path) => /(^|\/)decoder_/.test(path));
  return hasDecoder && !read.some(({ inputs }) => inputs.some(({ name }) => name.startsWith('past_')));
}
