/**
 * What a task model needs of a graph: the seam between our pre- and postprocessing and whatever runs the graph. `graph/session.ts`
 * opens it here, in ONNX Runtime; `ModelSource.openSession` may open it elsewhere.
 */

import type { Tensors } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import type { ExecutionProvider } from './runner-protocol.ts';

/** Graph to load, and how ONNX Runtime should run it. */
export interface SessionOptions {
  readonly modelPath: string;
  /** Intra-op threads. */
  readonly threads: number;
  readonly allowSpinning: boolean;
  /** Fold `DequantizeLinear` on initializers into float weights at load; for int8-weights files only. */
  readonly foldDequantize: boolean;
  /**
   * Providers don't fall back by themselves, so a caller that wants another than the CPU must probe it in a throw-away child
   * first.
   */
  readonly executionProvider: ExecutionProvider;
  /** Opens the graph elsewhere; left out: here. */
  readonly openSession?: OpenSession | undefined;
}

/** Loaded graph that takes and gives tensors by name. */
export interface Session {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly executionProvider: ExecutionProvider;
  /**
   * Runs the graph.
   *
   * @param feeds are read during the run, nothing of them is kept
   * @param names of the outputs that are wanted; all when left out
   * @returns the outputs, owned by the caller
   * @throws MODEL_INVALID when the graph fails on these feeds
   */
  run(feeds: Tensors, names?: readonly string[]): Promise<Tensors>;
}

/** @throws MODEL_INVALID, RUNNER_START_FAILED */
export type OpenSession = (options: Omit<SessionOptions, 'openSession'>) => Promise<Session>;
