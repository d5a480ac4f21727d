/** `tensor`: any graph, its inputs and outputs as they are. */
import { join } from 'node:path';
import { readOnnxGraph } from '../../release/import/onnx-graph.ts';
import { AppError, isAppError } from '../../runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { sizeOf, type Tensors, type TensorValue } from '../../tasks/tensor/element-types.ts';
import { fromHalf } from '../../tasks/tensor/half.ts';
import { type TensorParameters, tensorParameters } from '../../tasks/tensor/schema.ts';
import { mixesRows } from '../graph/batch-safety.ts';
import { answerEach } from '../graph/finite.ts';
import { loadSession, type Session } from '../graph/session.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { graphInputs, readTensors } from '../tensor/tensor-input.ts';
import { toJson, valueFrom } from '../tensor/tensor-json.ts';
import { joined, splitRows } from '../tensor/tensor-rows.ts';

/** Of one answer; as JSON about 20 bytes each. */
const MAX_ELEMENTS = 4_000_000;

interface PreparedTensors {
  readonly feeds: Tensors;
  /** Names, in the order in which they are answered. */
  readonly outputs: readonly string[];
  readonly chance: number;
}

/** @throws MODEL_INVALID */
export async function loadTensor(source: ModelSource): Promise<TaskModel<PreparedTensors>> {
  const { folder, spec } = source;
  const modelPath = join(folder, spec.model);
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const inputs = graphInputs(session.inputs);
  const hasRows = [...session.inputs, ...session.outputs].every(({ dims }) => dims[0] === null);
  const isBatchSafe = spec.batch.safe && hasRows && !(await mixesRows(modelPath));
  const names = session.outputs.map(({ name }) => name);
  const losesTexts = await mayLoseTexts(session, modelPath);
  let unshared = 0;

  const model: TaskModel<PreparedTensors> = {
    maxBatchSize: isBatchSafe ? spec.batch.maxSize : 1,
    executionProvider: session.executionProvider,
    async prepare(task) {
      const parameters = tensorParameters.parse(task.parameters ?? {});
      return {
        feeds: readTensors(task.body, inputs),
        outputs: outputsOf(names, parameters),
        chance: scoreByChance(task.body),
      };
    },
    // A request of several rows is a batch already; shapes count, because padding would be a value here.
    shapeKey({ feeds }) {
      const all = Object.values(feeds);
      const isOneRow = all.every(({ dims }) => dims[0] === 1);
      return isOneRow ? all.map(({ dims }) => dims.join('x')).join(' ') : `alone-${unshared++}`;
    },
    async run(batch) {
      const wanted = names.filter((name) => batch.some(({ outputs }) => outputs.includes(name)));
      const results = await runTogether(session, batch, wanted);
      return answerEach(batch, (one, index) => answerOf(one, results[index] ?? {}, losesTexts));
    },
  };
  await warmUp(session, inputs);
  return model;
}

/** @throws PARAMETERS_INVALID */
function outputsOf(names: readonly string[], { outputs }: TensorParameters): readonly string[] {
  const strange = outputs?.find((name) => !names.includes(name));
  if (strange === undefined) return outputs ?? names;
  throw new AppError(
    'PARAMETERS_INVALID',
    `outputs: the model has no ${strange}; it has ${names.join(', ')}`,
  );
}

/** @throws INPUT_INVALID where the graph fails: its inputs are the asker's own, and their shapes may not fit together */
async function runChecked(session: Session, feeds: Tensors, names: readonly string[]): Promise<Tensors> {
  return session.run(feeds, names).catch((error: unknown) => {
    if (!isAppError(error, 'MODEL_INVALID')) throw error;
    throw new AppError('INPUT_INVALID', `the model cannot take it: ${error.message}`, { cause: error });
  });
}

/** One run where each answer has as many rows as were asked; else one by one. */
async function runTogether(
  session: Session,
  batch: readonly PreparedTensors[],
  wanted: readonly string[],
): Promise<Tensors[]> {
  const [first] = batch;
  if (first === undefined) return [];
  if (batch.length > 1) {
    const together = await runChecked(session, joined(batch.map(({ feeds }) => feeds)), wanted);
    const split = splitRows(together, batch.length);
    if (split !== undefined) return split;
  }
  const alone: Tensors[] = [];
  for (const { feeds, outputs } of batch) alone.push(await runChecked(session, feeds, outputs));
  return alone;
}

/** @param losesTexts as `mayLoseTexts` says @throws INPUT_TOO_LARGE, OUTPUT_NOT_TEXT */
function answerOf({ outputs, chance }: PreparedTensors, results: Tensors, losesTexts: boolean): Answer {
  const output = outputs.map((name) => {
    const value = results[name];
    if (value === undefined) throw new AppError('INVARIANT_BROKEN', `output ${name} is missing`);
    return [name, value] as const;
  });
  const size = output.reduce((sum, [, { dims }]) => sum + sizeOf(dims), 0);
  if (size > MAX_ELEMENTS)
    throw new AppError(
      'INPUT_TOO_LARGE',
      `the answer has ${size} elements, the limit is ${MAX_ELEMENTS}; ask for fewer outputs`,
    );
  for (const [name, value] of output) requireTexts(name, value, losesTexts);
  // What is no number may be what the graph means (the logarithm of nothing, a mask): it is answered, and never certified.
  const routeScore = output.every(([, value]) => holdsNumbers(value)) ? chance : ROUTE_SCORE_FLOOR;
  return { output: output.map(([name, value]) => toJson(name, value)), routeScore };
}

/**
 * Whether a text may come out shorter than the graph gave it: ONNX Runtime's end at a NUL in JavaScript, and none can come in (an input
 * with one is refused), so that it stands in the graph.
 */
async function mayLoseTexts({ outputs }: Session, modelPath: string): Promise<boolean> {
  return outputs.some(({ type }) => type === 'string') && (await readOnnxGraph(modelPath)).hasNulText;
}

/** What is no UTF-8 has this in its place. */
const REPLACEMENT = '\uFFFD';

/** Carried byte for byte, or not at all. @throws OUTPUT_NOT_TEXT */
function requireTexts(name: string, { type, data }: TensorValue, losesTexts: boolean): void {
  if (type !== 'string') return;
  if (losesTexts)
    throw new AppError(
      'OUTPUT_NOT_TEXT',
      `output ${name} may be a text with a NUL, which would be cut off there`,
    );
  const at = data.findIndex((text) => text.includes(REPLACEMENT));
  if (at !== -1) throw new AppError('OUTPUT_NOT_TEXT', `output ${name}: element ${at} is no UTF-8`);
}

function holdsNumbers({ type, data }: TensorValue): boolean {
  if (type === 'float16') return data.every((bits) => Number.isFinite(fromHalf(bits)));
  return (type !== 'float32' && type !== 'float64') || data.every((value) => Number.isFinite(value));
}

/** The first run allocates. Where an axis is dynamic, nobody knows which size is a good one. */
async function warmUp(session: Session, inputs: ReturnType<typeof graphInputs>): Promise<void> {
  const isFixed = inputs.every(
    ({ dims }) => dims.every((dim) => dim !== null) && sizeOf(dims as number[]) <= MAX_ELEMENTS,
  );
  if (!isFixed) return;
  const zeros = inputs.map(({ name, type, dims }): [string, TensorValue] => {
    const shape = dims.map((dim) => dim ?? 1);
    const zero = type === 'bool' ? false : type === 'string' ? '' : 0;
    return [
      name,
      valueFrom(
        Array.from({ length: sizeOf(shape) }, () => zero),
        { name, type, dims: shape },
      ),
    ];
  });
  // Zeros may be what a graph cannot take: who asks is told then.
  await session.run(Object.fromEntries(zeros)).catch(() => undefined);
}
