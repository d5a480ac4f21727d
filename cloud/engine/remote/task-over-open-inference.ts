/**
 * A whole task on a server of the Open Inference Protocol that takes encoded inputs, as another hub does at `/v2`: one BYTES tensor in;
 * `label` and `score`, or one BYTES tensor with the task's JSON, out.
 */
import type { EngineHttp } from '../../../shared/inference/remote/engine-http.ts';
import { failed } from '../../../shared/inference/remote/engine-http.ts';
import {
  type RemoteMetadata,
  type RemoteModel,
  readRemoteMetadata,
  runRemotely,
} from '../../../shared/inference/remote/open-inference-client.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { tryParseJson } from '../../../shared/runtime/json.ts';
import { TASKS, type TaskName } from '../../../shared/tasks/tasks.ts';
import type { Tensors } from '../../../shared/tasks/tensor/element-types.ts';
import type { InferenceReply, InferenceRequest, Inferencer, ModelCatalog } from '../../ports.ts';

/** The server, and the model there. */
export interface TaskOverOpenInferenceOptions {
  readonly http: EngineHttp;
  readonly remote: RemoteModel;
  readonly catalog: ModelCatalog;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

const LABELLED = ['label', 'score'];
const JSON_OUTPUT = 'output';
/** Where the caller does not say how many labels. */
const DEFAULT_LABELS = 5;

/** Asks the server for one input at a time. */
export class TaskOverOpenInference implements Inferencer {
  readonly #o: TaskOverOpenInferenceOptions;
  #metadata: Promise<RemoteMetadata> | undefined;

  constructor(options: TaskOverOpenInferenceOptions) {
    this.#o = options;
  }

  async infer({ model, input, expiresMonoMs, signal, onToken }: InferenceRequest): Promise<InferenceReply> {
    const { http, remote, catalog, clock, timeoutMs } = this.#o;
    const { ref, task } = catalog.resolve(model);
    const startedMonoMs = clock.nowMonoMs();
    const { isBinary, name, outputs } = await this.#form(task, remote);
    const { parameters = {} } = input;
    const isLabelled = outputs === LABELLED;
    const tensors = await runRemotely(http, remote, {
      feeds: {
        [name]: {
          type: 'bytes',
          data: [input.body],
          dims: [1],
          isText: !['image', 'audio'].includes(TASKS[task].inputKind),
        },
      },
      ...{ outputs, isBinary, signal },
      parameters: isLabelled ? { top_k: DEFAULT_LABELS, ...parameters } : parameters,
      timeoutMs: Math.min(timeoutMs, expiresMonoMs - startedMonoMs),
    });
    const output = await http.naming(() => (isLabelled ? labelsIn(tensors) : jsonIn(tensors, task)));
    // The protocol has no stream: all of it comes at once.
    if (onToken && typeof output === 'object' && output !== null && 'generated_text' in output)
      onToken({ id: 0, text: String(output.generated_text), logprob: 0, special: false }, true);
    const inference = clock.nowMonoMs() - startedMonoMs;
    return { output, model: ref, timingsMs: { queue: 0, preprocess: 0, inference } };
  }

  /** Which tensor it takes, and which it gives. @throws ENGINE_MISFIT */
  async #form(
    task: TaskName,
    { name: remoteName }: RemoteModel,
  ): Promise<{ readonly isBinary: boolean; readonly name: string; readonly outputs: readonly string[] }> {
    this.#metadata ??= readRemoteMetadata(this.#o.http, this.#o.remote);
    try {
      const { isBinary, inputs, outputs } = await this.#metadata;
      const [only, ...others] = inputs;
      if (only?.datatype !== 'BYTES' || others.length > 0)
        throw misfit(
          `${remoteName} takes ${shown(inputs)}; without a folder a model must take one tensor of BYTES: give --folder with what makes its tensors of ${TASKS[task].inputKind}`,
        );
      const has = (wanted: string): boolean => outputs.some((one) => one.name === wanted);
      if (TASKS[task].ranks === 'own' && LABELLED.every(has))
        return { isBinary, name: only.name, outputs: LABELLED };
      if (has(JSON_OUTPUT)) return { isBinary, name: only.name, outputs: [JSON_OUTPUT] };
      throw misfit(`${remoteName} gives ${shown(outputs)}, and no answer of ${task}`);
    } catch (error) {
      // It may be another the next time.
      this.#metadata = undefined;
      throw error;
    }
  }
}

const misfit = (message: string): AppError => new AppError('ENGINE_MISFIT', message);

const shown = (tensors: RemoteMetadata['inputs']): string =>
  tensors.map(({ name, datatype, shape }) => `${name} ${datatype}[${shape}]`).join(', ') ||
  'nothing that it names';

/** @throws ENGINE_FAILED, OUTPUT_NOT_FINITE */
function labelsIn({ label: labels, score: scores }: Tensors): { label: string; score: number }[] {
  if (labels?.type !== 'string' || scores?.type !== 'float32' || labels.data.length !== scores.data.length)
    throw failed('gives labels and scores that do not belong together');
  const { data } = scores;
  if (!data.every(Number.isFinite))
    throw new AppError('OUTPUT_NOT_FINITE', 'a score of the engine is no number');
  return labels.data.map((label, at) => ({ label, score: data[at] ?? 0 }));
}

/** @throws ENGINE_FAILED */
function jsonIn({ [JSON_OUTPUT]: output }: Tensors, task: TaskName): unknown {
  const [text] = output?.type === 'string' ? output.data : [];
  const parsed = TASKS[task].output.safeParse(
    text === undefined ? undefined : tryParseJson(Buffer.from(text)),
  );
  if (!parsed.success) throw failed(`gives what is no answer of ${task}`);
  return parsed.data;
}
