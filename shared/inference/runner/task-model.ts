/** What a loaded task is to the runner: two halves, so that decoding overlaps with running and batches group by shape. */

import type { ModelSpec } from '../../release/folder/model-spec.ts';
import type { AppError } from '../../runtime/errors.ts';
import type { TaskInput } from '../../tasks/tasks.ts';
import type { OpenSession } from './graph-session.ts';
import type { InputRead, OnToken } from './runner.ts';
import type { ExecutionProvider } from './runner-protocol.ts';

/** Model folder to load, and how its graphs should run. */
export interface ModelSource {
  readonly folder: string;
  readonly spec: ModelSpec;
  readonly threads: number;
  readonly allowSpinning: boolean;
  readonly executionProvider: ExecutionProvider;
  /**
   * Opens graphs elsewhere, while their pre- and postprocessing stays here; left out: here, too. The folder has the graph's file all
   * the same: whether rows of a batch mix is read from it.
   */
  readonly openSession?: OpenSession | undefined;
}

/** An answer before the runner adds its timings. */
export interface Answer {
  readonly output: unknown;
  readonly routeScore: number;
  /** The input is longer than the model reads: it has answered a part of it. */
  readonly isCut?: boolean;
  readonly read?: InputRead;
}

/** Control over a run that takes its time; what one native run answers need not heed it. */
export interface RunControl {
  /** Aborted: nobody waits for the answer any more. The run ends within a token or a native run, with EXPIRED. */
  readonly signal: AbortSignal;
  /** Told at every token or native run, so that the time for the next one begins. */
  readonly onStep: () => void;
  /** Wants each token as it comes; undefined: nobody does. */
  readonly onToken?: OnToken | undefined;
}

/** Loaded model of one task, from a checked input to an answer. */
export interface TaskModel<Prepared> {
  /** 1 where batching would change answers. */
  readonly maxBatchSize: number;
  readonly executionProvider: string;
  /** Decodes and preprocesses one input that passed `checkInput`. */
  prepare(input: TaskInput): Promise<Prepared>;
  /** Inputs with equal keys may share a batch. */
  shapeKey(prepared: Prepared): string;
  /** Whether it takes many native runs, between which those of others go on; left out: none does. */
  isLong?(prepared: Prepared): boolean;
  /** Runs one batch of one shape key; answers in its order, OUTPUT_NOT_FINITE or OUTPUT_NOT_TEXT in the place of one that is none. */
  run(batch: readonly Prepared[], control?: RunControl): Promise<(Answer | AppError)[]>;
}
