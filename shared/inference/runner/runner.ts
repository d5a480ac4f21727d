/**
 * What a runner is to the rest of the system: a child process in which one model version runs.
 * The process itself is `runner-main.ts`; `runner-process.ts` starts it and speaks to it.
 */
import type { PictureNeed } from '../../contract/messages.ts';
import type { ErrorBody } from '../../runtime/errors.ts';
import type { TaskInput, TaskName } from '../../tasks/tasks.ts';
import type { GeneratedToken } from '../../tasks/text-generation/schema.ts';
import type { RemoteGraph } from '../remote/remote-session.ts';
import type { ExecutionProvider } from './runner-protocol.ts';

/** How much of an input a model has read, for those who count it; of tasks of which somebody does. */
export interface InputRead {
  /** Of a text, with those that frame it. */
  readonly tokens?: number | undefined;
  /** Of a sound. */
  readonly seconds?: number | undefined;
  /** Of a sound, as the model knows it (`en`). */
  readonly language?: string | undefined;
}

/** One answer of a model. */
export interface Inference {
  /** Hugging Face's shape for the task. */
  readonly output: unknown;
  /** What the router orders by: unbounded, higher is surer (log-odds margin from logits); never NaN. */
  readonly routeScore: number;
  /** The input is longer than the model reads: it has answered a part of it. */
  readonly isCut?: boolean | undefined;
  readonly read?: InputRead | undefined;
  readonly timingsMs: { readonly preprocess: number; readonly inference: number };
}

/** Hears each token of a generation as it comes; `isLast`: the answer itself is next. */
export type OnToken = (token: GeneratedToken, isLast: boolean) => void;

/** Control over a call while it runs. */
export interface CallControl {
  /** Aborted: a generation ends within a token, and a long text within a run, with EXPIRED. Other work is finished. */
  readonly signal?: AbortSignal | undefined;
  readonly onToken?: OnToken | undefined;
}

/** Asks for the picture itself, made smaller, where its answer is likely to be asked of a larger model. */
export interface ShrinkBelow {
  /** Route score; null: whatever it is. */
  readonly below: number | null;
  readonly to: Shrinking;
}

/** The outcome of one input of a batch: a bad input does not take its neighbours down. */
export type Outcome =
  | { readonly ok: true; readonly value: Inference }
  | { readonly ok: false; readonly error: ErrorBody };

/** A decoded, preprocessed input that waits in the runner. */
export interface Prepared {
  readonly handle: number;
  /** Inputs with equal keys may share a batch. */
  readonly shapeKey: string;
  /** Takes many native runs, and lets others’ between them: it may run beside a batch. */
  readonly isLong?: boolean;
}

/** What is drawn into a picture; edges in px of the picture as people see it. */
export interface PictureMarks {
  /** A frame with its text. */
  readonly boxes: readonly {
    readonly text: string;
    readonly box: {
      readonly xmin: number;
      readonly ymin: number;
      readonly xmax: number;
      readonly ymax: number;
    };
  }[];
  /** Along the lower edge; empty: none. */
  readonly caption: string;
}

/** How a picture is to be made smaller. */
export interface Shrinking extends Pick<PictureNeed, 'kernel'> {
  /** As a model's preprocessing does it, or `inside` a square, all of it. */
  readonly resize: PictureNeed['resize'] | { readonly kind: 'inside'; readonly longestPx: number };
  /** `grey`: u8[H,W] as they are, not encoded; `quality` says nothing then. */
  readonly format: 'webp' | 'jpeg' | 'grey';
  /** 1..100, as libvips means it; `lossless` for WebP. */
  readonly quality: number | 'lossless';
  /** Encode it even where it would have to grow, at its own size: nothing of the sender's bytes is passed on. */
  readonly always?: boolean;
  /** Drawn into it. */
  readonly marks?: PictureMarks;
}

/** Facts that a runner tells of its model once it is loaded. */
export interface RunnerFacts {
  readonly name: string;
  readonly task: TaskName;
  readonly digest: string;
  /** 1 where batching would change answers. */
  readonly maxBatchSize: number;
  /** Whether some of its inputs take many native runs, between which those of others go on. */
  readonly canBeLong: boolean;
  readonly executionProvider: string;
}

/** How a runner's process has ended. */
export interface RunnerEnd {
  /** It was told to stop. */
  readonly expected: boolean;
  readonly reason: string;
  /** Its execution provider failed (a GPU that has gone, or is out of memory), whatever the inputs were. */
  readonly isProvidersFault?: boolean;
}

/** One loaded model version, in a process of its own. */
export interface Runner {
  readonly facts: RunnerFacts;
  /** Its process, for metrics of memory. */
  readonly pid: number;
  /** Whether it takes calls: false from the moment that its end is certain, which is before it has ended. */
  readonly isUp: boolean;
  /**
   * Decodes, preprocesses, runs, postprocesses one input.
   *
   * @param control.shrink where it holds, the encoded picture comes along, no larger than is of use; not where that failed
   *
   * @throws the input's own error (IMAGE_CORRUPT, TEXT_INVALID, PARAMETERS_INVALID, …), QUEUE_FULL (too many calls in
   * flight), STOPPING, EXPIRED (by the signal), RUNNER_CRASHED, RUNNER_TIMEOUT
   */
  infer(
    input: TaskInput,
    control?: CallControl & { readonly shrink?: ShrinkBelow | undefined },
  ): Promise<Inference & { readonly shrunk?: Uint8Array }>;
  /** First half, for batches. Each handle must go to `run` or `discard`. @throws as infer */
  prepare(input: TaskInput): Promise<Prepared>;
  /**
   * Second half: one batch of one shapeKey, answers in order. Tokens come of a batch of one only.
   *
   * @throws EXPIRED (by the signal), RUNNER_CRASHED, RUNNER_TIMEOUT
   */
  run(handles: readonly number[], control?: CallControl): Promise<readonly Outcome[]>;
  discard(handles: readonly number[]): void;
  /** Encodes a picture again, no larger than is of use. @throws the picture's own error, as infer */
  shrink(body: Uint8Array, to: Shrinking): Promise<Uint8Array>;
  /** Resolves when the process has ended, for whatever reason. */
  readonly ended: Promise<RunnerEnd>;
  /** Lets running work finish for `graceMs`, then kills. */
  stop(graceMs?: number): Promise<void>;
}

/** Which model to load, and what its process may use. */
export interface RunnerOptions {
  /** The model folder, already checked by `openModelFolder`. */
  readonly folder: string;
  readonly digest: string;
  /** ONNX Runtime's intra-op threads; the sum over all runners should not exceed the cores. */
  readonly threads: number;
  /** False on devices: spinning threads cost a core (docs/design/facts.md 1). */
  readonly allowSpinning?: boolean;
  /** `cpu` when left out. Another one must have been tried in a throw-away runner: none falls back. */
  readonly executionProvider?: ExecutionProvider;
  /** Folders in which the loader looks first for ONNX Runtime's libraries and for what a provider needs; none when left out. */
  readonly libraries?: readonly string[];
  /** Its graph runs elsewhere, and its pre- and postprocessing here; left out: here, too. */
  readonly engine?: RemoteGraph | undefined;
  /** The watchdog ends the process above this RSS. */
  readonly maxRssBytes: number;
  /** Loading and warming up must be done by then. */
  readonly startTimeoutMs: number;
  /** What one call, or the next token of one, may take, not counting the calls before it; the process is killed otherwise. */
  readonly callTimeoutMs: number;
}

/** @throws MODEL_INVALID, RUNNER_START_FAILED */
export type StartRunner = (options: RunnerOptions) => Promise<Runner>;
