/** What is told of a foreign model from its graphs and its configuration: what stands in its `outrider.json`, or why it is refused. Pure. */

import { AppError } from '../../runtime/errors.ts';
import { TASKS, type TaskName } from '../../tasks/tasks.ts';
import type { Variant } from '../folder/choices.ts';
import { tellFamily } from '../folder/detector-family.ts';
import type { DetectorFamily, ModelSpec } from '../folder/model-spec.ts';
import { requireFiles } from './choose-files.ts';
import { FOREIGN_TASKS } from './foreign-tasks.ts';
import type { OnnxGraph } from './onnx-graph.ts';
import { precisionOf } from './precision.ts';
import { checkSignature } from './signature-check.ts';
import type { ForeignConfig, Guess } from './task-guess.ts';

/** Description of a foreign model by its owner. */
export interface Said {
  readonly family?: DetectorFamily | undefined;
  /** In the order of the graph's logits, instead of those in `config.json`. */
  readonly labels?: readonly string[] | undefined;
}

/** Findings about a foreign model, in the form in which its `outrider.json` takes them. */
export interface Described {
  readonly task: TaskName;
  readonly model: string;
  readonly graphs: readonly string[];
  readonly signature: Pick<OnnxGraph, 'inputs' | 'outputs'>;
  readonly detector?: ModelSpec['detector'];
  readonly precision: ModelSpec['precision'];
  readonly foldDequantize: boolean;
  readonly batch: ModelSpec['batch'];
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
): Described {
  const { task, config, graphs, read, paths } = of;
  const [model, ...rest] = graphs as [string, ...string[]];
  const [main] = read as [OnnxGraph, ...OnnxGraph[]];
  const { inputs, outputs } = main;
  const labels = FOREIGN_TASKS[task].needsLabels ? labelCount(config, said) : undefined;
  checkSignature(task, main, { file: model, labels });
  const family = task === 'object-detection' ? familyOf(main, labels ?? 0, said) : undefined;
  requireFiles(task, paths, family !== undefined && family !== 'detr' && family !== 'rt-detr');
  const { precision, foldDequantize, mixesRows } = precisionOf(read);
  const isBatchable = !mixesRows && inputs.every(({ dims }) => dims[0] === null);
  return {
    task,
    model,
    graphs: rest,
    signature: { inputs, outputs },
    ...(family && { detector: { family } }),
    precision,
    foldDequantize,
    batch: isBatchable ? { safe: true, maxSize: BATCH_SIZE } : { safe: false, maxSize: 1 },
  };
}

/** @throws MODEL_INVALID */
function labelCount(config: ForeignConfig | undefined, { labels }: Said): number {
  const count = labels?.length ?? Object.keys(config?.id2label ?? {}).length;
  if (count > 0) return count;
  throw new AppError(
    'MODEL_INVALID',
    'its labels are nowhere named (id2label in config.json); give them with --labels FILE, one a line, in the order of the graph’s outputs',
  );
}

/** @throws MODEL_INVALID */
function familyOf({ outputs }: OnnxGraph, labels: number, { family }: Said): DetectorFamily {
  if (family) return family;
  const main = outputs.find(({ name }) => name === 'logits') ?? outputs[0];
  const told = tellFamily(
    main?.dims ?? [],
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
  { precision, batch, task }: Described,
): string[] {
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
  ];
}
