/**
 * Triton's extensions of the Open Inference Protocol: the configuration and the statistics of a model in Triton's form. What of Triton is
 * not there (shared memory, trace, loading, logging, generate) is refused as such, so that nobody looks for a model of that name.
 */
import { z } from 'zod';
import type { ModelSpec } from '../../../shared/release/folder/model-spec.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { TaskName } from '../../../shared/tasks/tasks.ts';
import type { ModelCounts } from '../../ports.ts';
import type { Api } from '../frame/endpoint.ts';
import type { Guard } from '../frame/guards.ts';
import type { TensorMetadata } from './forms.ts';

const configTensor = z.object({ name: z.string(), data_type: z.string(), dims: z.array(z.int()) });

/** Configuration of a model, as far as there is one here. */
export const modelConfig = z.object({
  name: z.string(),
  platform: z.literal('onnxruntime_onnx'),
  backend: z.literal('onnxruntime'),
  version_policy: z.object({ specific: z.object({ versions: z.array(z.int()) }) }),
  /** 0: the first axis stands in the dims of the tensors. */
  max_batch_size: z.literal(0),
  input: z.array(configTensor),
  output: z.array(configTensor),
  default_model_filename: z.string(),
  /** What runs it now; absent where no runner holds it. */
  instance_group: z
    .array(z.object({ name: z.string(), kind: z.enum(['KIND_CPU', 'KIND_GPU']), count: z.literal(1) }))
    .optional(),
  /** Batches are made from requests that wait at the same time; absent where an answer would depend on its neighbours. */
  dynamic_batching: z.object({ preferred_batch_size: z.array(z.int()) }).optional(),
  parameters: z.object({ task: z.object({ string_value: z.string() }) }),
});

/** Tensors with their names, types and shapes. */
export interface ModelTensors {
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
}
/** The configuration in Triton’s form. */
export function configOf(
  model: {
    readonly name: string;
    readonly version: string;
    readonly task: TaskName;
    readonly spec: ModelSpec;
    /** null: no runner holds it */
    readonly provider: string | null;
  },
  { inputs, outputs }: ModelTensors,
): z.infer<typeof modelConfig> {
  const { name, version, task, spec, provider } = model;
  return {
    ...{ name, platform: 'onnxruntime_onnx', backend: 'onnxruntime', max_batch_size: 0 },
    version_policy: { specific: { versions: [Number(version)] } },
    input: inputs.map(configTensorOf),
    output: outputs.map(configTensorOf),
    default_model_filename: spec.model,
    ...(provider !== null && {
      instance_group: [{ name: provider, kind: provider === 'cpu' ? 'KIND_CPU' : 'KIND_GPU', count: 1 }],
    }),
    ...(spec.batch.safe && { dynamic_batching: { preferred_batch_size: [spec.batch.maxSize] } }),
    parameters: { task: { string_value: task } },
  };
}

const configTensorOf = ({ name, datatype, shape }: TensorMetadata): z.infer<typeof configTensor> => ({
  name,
  data_type: `TYPE_${datatype === 'BYTES' ? 'STRING' : datatype}`,
  dims: [...shape],
});

/** So many times, and how long together. */
const duration = z.object({ count: z.int(), ns: z.int() });

/** Statistics of models since the hub started. */
export const modelStatistics = z.object({
  model_stats: z.array(
    z.object({
      name: z.string(),
      version: z.string(),
      /** Milliseconds since 1970; 0: never. */
      last_inference: z.int(),
      inference_count: z.int(),
      /** Runs of the graph; a batch is one. */
      execution_count: z.int(),
      inference_stats: z.object({
        success: duration,
        fail: duration,
        queue: duration,
        compute_input: duration,
        compute_infer: duration,
        compute_output: duration,
        cache_hit: duration,
        cache_miss: duration,
      }),
      batch_stats: z.array(z.never()),
    }),
  ),
});
type Statistics = z.infer<typeof modelStatistics>['model_stats'][number];

const NONE = { count: 0, ns: 0 } as const;

/** Statistics in Triton’s form. @param counts undefined: it has not been asked yet */
export function statisticsOf(
  { name, version }: { readonly name: string; readonly version: string },
  counts: ModelCounts | undefined,
): Statistics {
  const answered = counts?.answered ?? 0;
  const of = (count: number, ms = 0): Statistics['inference_stats']['fail'] => ({
    count,
    ns: Math.round(ms * 1_000_000),
  });
  return {
    ...{ name, version, last_inference: counts?.lastAtMs ?? 0, inference_count: answered, batch_stats: [] },
    execution_count: Math.round(counts?.runs ?? 0),
    inference_stats: {
      success: of(answered, counts?.answeredMs),
      fail: of(counts?.failed ?? 0, counts?.failedMs),
      queue: of(answered, counts?.queueMs),
      compute_input: of(answered, counts?.preprocessMs),
      compute_infer: of(answered, counts?.inferenceMs),
      // Within the time of the inference.
      compute_output: of(answered),
      cache_hit: NONE,
      cache_miss: NONE,
    },
  };
}

/** Addresses of Triton and KServe that are not there, with what they are for. */
const ABSENT: readonly (readonly [path: string, what: string])[] = [
  ['/systemsharedmemory/*', 'system shared memory'],
  ['/cudasharedmemory/*', 'CUDA shared memory'],
  ['/trace/setting', 'tracing'],
  ['/logging', 'settings of the log'],
  ['/repository/models/*', 'loading and unloading of models (the hub loads a model when it is asked)'],
  ...['/models/:model', '/models/:org/:model'].flatMap((model): [string, string][] => [
    [`${model}/trace/setting`, 'tracing'],
    ...['', '/versions/:version'].flatMap((version): [string, string][] => [
      [`${model}${version}/generate`, 'generate (see /hf for text generation)'],
      [`${model}${version}/generate_stream`, 'generate_stream (see /hf for text generation)'],
    ]),
    ...['system', 'cuda'].map((kind): [string, string] => [
      `${model}/${kind}sharedmemory/*`,
      'shared memory',
    ]),
  ]),
];

/** Refuses what is not there, before a model of that name is looked for. */
export function refuseAbsent(app: Api, guard: Guard): void {
  for (const [path, what] of ABSENT) {
    if (guard.check) app.use(path, guard.check);
    app.use(path, () => {
      throw new AppError('NOT_OFFERED', `this server does not offer ${what}`);
    });
  }
}
