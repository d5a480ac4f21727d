/**
 * The only owner of onnxruntime-node. Loaded in a runner's process alone, because `create` and `run` block the event loop
 * (docs/design/facts.md 1). The package is imported late: telemetry must be off in the environment before its native code
 * loads.
 */
import { basename } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { AppError } from '../../runtime/errors.ts';
import { isElementType, type Tensors, type TensorValue } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import type { Session, SessionOptions } from '../runner/graph-session.ts';
import { firstLine } from './runtime-message.ts';

export type { Session } from '../runner/graph-session.ts';

type Runtime = typeof import('onnxruntime-node');

/** Opens a graph elsewhere where the options say so, and else here. @throws MODEL_INVALID, RUNNER_START_FAILED (the execution provider does not work here) */
export async function loadSession({ openSession, ...options }: SessionOptions): Promise<Session> {
  if (openSession) return openSession(options);
  if (process.env.ORT_DISABLE_TELEMETRY !== '1')
    throw new AppError('INVARIANT_BROKEN', 'ORT_DISABLE_TELEMETRY must be 1 before ONNX Runtime is loaded');
  const ort = await import('onnxruntime-node');
  // Warnings about a graph are for its maker; on stderr they would hide a crash's last words.
  ort.env.logLevel = 'error';
  const file = basename(options.modelPath);
  const native = await create(ort, options);
  const outputs = native.outputMetadata.map((entry) => toTensorSpec(file, 'output', entry));
  const allNames = outputs.map(({ name }) => name);
  if (allNames.length === 0) throw new AppError('MODEL_INVALID', `${file} has no output`);
  return {
    inputs: native.inputMetadata.map((entry) => toTensorSpec(file, 'input', entry)),
    outputs,
    executionProvider: options.executionProvider,
    async run(feeds, names = allNames) {
      const results = await native.run(toNative(ort, feeds), names).catch((error: unknown) => {
        throw new AppError('MODEL_INVALID', `${file} failed: ${firstLine(error)}`, { cause: error });
      });
      return Object.fromEntries(
        Object.entries(results).map(([name, tensor]) => [name, toValue(file, name, tensor)]),
      );
    },
  };
}

async function create(ort: Runtime, options: SessionOptions): Promise<InferenceSession> {
  const { executionProvider: provider, modelPath } = options;
  // The package drops the name of a provider that it was built without, in silence.
  const isKnown = ort.listSupportedBackends().some(({ name }) => name === provider);
  if (!isKnown)
    throw new AppError(
      'RUNNER_START_FAILED',
      `the execution provider ${provider} is not in this build of ONNX Runtime`,
    );
  try {
    return await ort.InferenceSession.create(modelPath, nativeOptions(options));
  } catch (error) {
    const why = firstLine(error);
    throw provider === 'cpu'
      ? new AppError('MODEL_INVALID', `${basename(modelPath)} cannot be loaded: ${why}`, { cause: error })
      : new AppError(
          'RUNNER_START_FAILED',
          `${basename(modelPath)} cannot be loaded with ${provider}: ${why}`,
          {
            cause: error,
          },
        );
  }
}

/** Options of ONNX Runtime, also for the sessions that transformers.js makes. */
export function nativeOptions(options: Omit<SessionOptions, 'modelPath'>): InferenceSession.SessionOptions {
  const session: Record<string, unknown> = {
    // Spinning threads cost a core between runs (measured: docs/design/facts.md 1).
    intra_op: { allow_spinning: options.allowSpinning ? '1' : '0' },
    ...(options.foldDequantize ? { disable_quant_qdq: '1' } : {}),
  };
  return {
    executionProviders: [options.executionProvider],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    extra: { session },
  };
}

function toNative(ort: Runtime, feeds: Tensors): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]),
  );
}

function toValue(file: string, name: string, { type, data, dims }: Tensor): TensorValue {
  if (!isElementType(type)) throw new AppError('MODEL_INVALID', `${file}: output ${name} is of type ${type}`);
  // The package's typings don't tie the type to its array; its run time does.
  return { type, data, dims } as TensorValue;
}

function toTensorSpec(
  file: string,
  kind: 'input' | 'output',
  entry: InferenceSession.ValueMetadata,
): TensorSpec {
  if (!entry.isTensor) throw new AppError('MODEL_INVALID', `${file}: ${kind} ${entry.name} is not a tensor`);
  return {
    name: entry.name,
    type: entry.type,
    dims: entry.shape.map((dim) => (typeof dim === 'number' && dim >= 0 ? dim : null)),
  };
}
