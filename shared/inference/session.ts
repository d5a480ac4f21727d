/**
 * The only owner of onnxruntime-node. Loaded in a runner's process alone, because `create` and `run` block the event loop
 * (FACTS.md). The package is imported late: telemetry must be off in the environment before its native code loads.
 */
import { basename } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { AppError } from '../runtime/errors.ts';

export interface SessionOptions {
  readonly modelPath: string;
  /** Intra-op threads. */
  readonly threads: number;
  readonly allowSpinning: boolean;
  /** Fold `DequantizeLinear` on initializers into float weights at load; for int8-weights files only. */
  readonly foldDequantize: boolean;
}

/** An input or output of the graph; null is a dynamic axis. */
export interface TensorSpec {
  readonly name: string;
  readonly type: string;
  readonly dims: readonly (number | null)[];
}

/** A tensor to feed; the session reads `data` during the run and keeps nothing of it. */
export type Feed =
  | { readonly type: 'float32'; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly type: 'int64'; readonly data: BigInt64Array; readonly dims: readonly number[] };

export interface Session {
  readonly inputs: readonly TensorSpec[];
  readonly executionProvider: string;
  /**
   * Runs the graph and gives its logits.
   *
   * @returns f32[N,C], owned by the caller
   * @throws MODEL_INVALID when the graph fails on these feeds
   */
  run(feeds: Readonly<Record<string, Feed>>): Promise<{ data: Float32Array; dims: readonly number[] }>;
}

/**
 * The providers to run on. They don't fall back by themselves, so a caller that wants another than the CPU must probe it in
 * a throw-away child first.
 */
const EXECUTION_PROVIDER = 'cpu';

/** @throws MODEL_INVALID */
export async function loadSession(options: SessionOptions): Promise<Session> {
  if (process.env.ORT_DISABLE_TELEMETRY !== '1')
    throw new AppError('INVARIANT_BROKEN', 'ORT_DISABLE_TELEMETRY must be 1 before ONNX Runtime is loaded');
  const ort = await import('onnxruntime-node');
  // Warnings about a graph are for its maker; on stderr they would hide a crash's last words.
  ort.env.logLevel = 'error';
  const file = basename(options.modelPath);
  const native = await ort.InferenceSession.create(options.modelPath, nativeOptions(options)).catch(
    (error: unknown) => {
      throw new AppError('MODEL_INVALID', `${file} cannot be loaded: ${firstLine(error)}`, { cause: error });
    },
  );
  const inputs = native.inputMetadata.map((entry) => toTensorSpec(file, entry));
  const outputName = native.outputNames.includes('logits') ? 'logits' : native.outputNames[0];
  if (outputName === undefined) throw new AppError('MODEL_INVALID', `${file} has no output`);
  return {
    inputs,
    executionProvider: EXECUTION_PROVIDER,
    async run(feeds) {
      const tensors: Record<string, Tensor> = {};
      for (const [name, { type, data, dims }] of Object.entries(feeds))
        tensors[name] = new ort.Tensor(type, data, dims);
      const outputs = await native.run(tensors, [outputName]).catch((error: unknown) => {
        throw new AppError('MODEL_INVALID', `${file} failed: ${firstLine(error)}`, { cause: error });
      });
      const output = outputs[outputName];
      if (output === undefined || !(output.data instanceof Float32Array))
        throw new AppError('MODEL_INVALID', `${file}: output ${outputName} is not float32`);
      return { data: output.data, dims: output.dims };
    },
  };
}

/** Also of the sessions that transformers.js makes. */
export function nativeOptions(options: Omit<SessionOptions, 'modelPath'>): InferenceSession.SessionOptions {
  const session: Record<string, unknown> = {
    // Spinning threads cost a core between runs (measured: FACTS.md).
    intra_op: { allow_spinning: options.allowSpinning ? '1' : '0' },
    ...(options.foldDequantize ? { disable_quant_qdq: '1' } : {}),
  };
  return {
    executionProviders: [EXECUTION_PROVIDER],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    extra: { session },
  };
}

function toTensorSpec(file: string, entry: InferenceSession.ValueMetadata): TensorSpec {
  if (!entry.isTensor) throw new AppError('MODEL_INVALID', `${file}: input ${entry.name} is not a tensor`);
  return {
    name: entry.name,
    type: entry.type,
    dims: entry.shape.map((dim) => (typeof dim === 'number' ? dim : null)),
  };
}

/** What ONNX Runtime says, without the graph that follows. */
export const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
