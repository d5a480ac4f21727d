/** What a model is and does on this machine, measured in a throw-away process: what `models pull` and `doctor <model>` print. */
import { join } from 'node:path';
import { answersAlike } from '../../shared/inference/proof/batch-trial.ts';
import { findTrial } from '../../shared/inference/proof/find-trial.ts';
import type { GoldenInput } from '../../shared/inference/proof/golden.ts';
import { answerExample, selfTest } from '../../shared/inference/proof/self-test.ts';
import type { Runner } from '../../shared/inference/runner/runner.ts';
import type { ExecutionProvider } from '../../shared/inference/runner/runner-protocol.ts';
import { withRunner } from '../../shared/inference/runner/with-runner.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { ModelSpec } from '../../shared/release/folder/model-spec.ts';
import { shown } from '../../shared/release/import/misfits.ts';
import { readOnnxGraph } from '../../shared/release/import/onnx-graph.ts';
import { toAppError } from '../../shared/runtime/errors.ts';
import { residentBytes } from '../../shared/runtime/resident-memory.ts';
import type { TensorSpec } from '../../shared/tasks/tensor/signature.ts';
import { bytesText, table } from '../output.ts';

/** Measurements of one model on this machine, with what its files say of it. */
export interface ModelCard {
  readonly name: string;
  readonly task: string;
  readonly folder: string;
  readonly digest: string;
  readonly precision: string;
  /** Of all files that a runner reads. */
  readonly bytes: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly opset: number;
  readonly producer: string;
  /** What its answers were compared with. */
  readonly test: 'golden' | 'example' | 'smoke' | 'untested';
  /** How it is tried without golden inputs; undefined: by the least that can be asked. */
  readonly trial: ModelSpec['trial'];
  /** Of preprocessing and inference, one input, one thread, on the processor; null where it was asked nothing. */
  readonly medianMs: number | null;
  /** Of the process that runs it. */
  readonly residentBytes: number | null;
  readonly providers: readonly Provider[];
  readonly maxBatchSize: number;
  /** null: it could not be seen. */
  readonly answersAlikeInBatches: boolean | null;
}

/** Whether the model loads with an execution provider here. */
interface Provider {
  readonly name: string;
  /** undefined: it works. */
  readonly problem?: string;
}

/** Often enough for a median. */
const REPEAT = 5;

/** What a model is tried with, beside the processor and what is made up. */
export interface MeasureOptions {
  readonly providers?: readonly ExecutionProvider[] | undefined;
  /** An input that its owner has given. */
  readonly example?: GoldenInput | undefined;
}

/** A model's card, with its answer to the example. */
export interface Measured {
  readonly card: ModelCard;
  /** undefined where no example was given. */
  readonly answer: unknown;
}

/** @throws MODEL_INVALID, MODEL_SELF_TEST_FAILED, RUNNER_*: it does not load, or does not answer */
export async function measureModel(
  folder: ModelFolder,
  { providers = [], example }: MeasureOptions = {},
): Promise<Measured> {
  const { spec, path, digest, bytes } = folder;
  const graph = await readOnnxGraph(join(path, spec.model));
  const { answer, ...tried } = await withRunner(folder, (runner) => tryOut(runner, folder, example));
  const card: ModelCard = {
    name: spec.name,
    task: spec.task,
    folder: path,
    digest,
    precision: spec.precision,
    bytes,
    inputs: graph.inputs,
    outputs: graph.outputs,
    opset: graph.opset,
    producer: graph.producer,
    providers: [{ name: 'cpu' }, ...(await tryProviders(folder, providers))],
    ...tried,
  };
  return { card, answer };
}

/** Each in a process of its own: one that does not work may take its process with it. */
async function tryProviders(
  folder: ModelFolder,
  providers: readonly ExecutionProvider[],
): Promise<Provider[]> {
  const tried: Provider[] = [];
  for (const executionProvider of providers)
    tried.push(
      await withRunner(folder, async (runner) => ({ name: runner.facts.executionProvider }), {
        executionProvider,
      }).catch((error: unknown) => ({ name: executionProvider, problem: toAppError(error).message })),
    );
  return tried;
}

async function tryOut(
  runner: Runner,
  folder: ModelFolder,
  example: GoldenInput | undefined,
): Promise<Tried & { readonly answer: unknown }> {
  const { spec } = folder;
  const isInvented = spec.task === 'tensor' && spec.golden.length === 0 && spec.trial === undefined;
  const trial = isInvented ? await findTrial(runner, folder) : spec.trial;
  const tried = { ...folder, spec: { ...spec, trial } };
  const answered = example && (await answerExample(runner, spec.task, { ...example, repeat: REPEAT }));
  const isProven = answered !== undefined && spec.golden.length === 0;
  const verdict = isProven ? undefined : await selfTest(runner, tried, { repeat: REPEAT });
  return {
    test: verdict === undefined ? 'example' : verdict.untested === undefined ? verdict.kind : 'untested',
    trial,
    answer: answered?.output,
    medianMs: answered?.medianMs ?? verdict?.medianMs ?? null,
    maxBatchSize: runner.facts.maxBatchSize,
    answersAlikeInBatches: isAsked(trial) ? await answersAlike(runner, tried) : null,
    residentBytes: (await residentBytes(runner.pid)) ?? null,
  };
}

type Tried = Pick<
  ModelCard,
  'test' | 'trial' | 'medianMs' | 'residentBytes' | 'maxBatchSize' | 'answersAlikeInBatches'
>;

const isAsked = (trial: ModelSpec['trial']): boolean => trial === undefined || 'shapes' in trial;

const MAX_PROBLEM = 100;
const providerText = ({ name, problem }: Provider): string =>
  problem === undefined ? name : `not ${name} (${problem.slice(0, MAX_PROBLEM)})`;

/** Model card as the table that people read. */
export function cardText(card: ModelCard): string {
  const { medianMs, maxBatchSize, answersAlikeInBatches: isAlike } = card;
  const batches =
    maxBatchSize < 2
      ? 'one by one: no batches'
      : `up to ${maxBatchSize} at a time${isAlike === false ? ', but NOT safe: answers depend on their neighbours' : ''}`;
  const rows = [
    ['task', card.task],
    ['precision', card.precision],
    ['size', `${bytesText(card.bytes)} on disk`],
    ['inputs', shown(card.inputs)],
    ['outputs', shown(card.outputs)],
    ['graph', `opset ${card.opset}${card.producer ? `, by ${card.producer}` : ''}`],
    ['answers', answersText(card)],
    ['providers', card.providers.map(providerText).join('; ')],
    ['time', medianMs === null ? 'not measured' : `${medianMs.toFixed(1)} ms an input, one thread`],
    [
      'memory',
      card.residentBytes === null ? 'not told by this system' : `${bytesText(card.residentBytes)} resident`,
    ],
    ['batches', batches],
    ['digest', card.digest.slice(0, 12)],
  ];
  return table([card.name, card.folder], rows);
}

function answersText({ test, trial }: Pick<ModelCard, 'test' | 'trial'>): string {
  switch (test) {
    case 'golden':
      return 'as its golden inputs say';
    case 'example':
      return 'it answers the example';
    case 'smoke':
      return `it answers${shapesText(trial)}; it has no golden inputs`;
    case 'untested':
      return 'UNTESTED: it loads, and takes no input that could be made up; give one with --example FILE';
  }
}

/** ` [1,512] and []`, as far as something was tried beyond the least. */
function shapesText(trial: ModelSpec['trial']): string {
  if (!trial || !('shapes' in trial)) return '';
  return ` to ${Object.entries(trial.shapes)
    .map(([name, shape]) => `${name} [${shape}]`)
    .join(', ')}`;
}
