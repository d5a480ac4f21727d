/**
 * What a task is, in two parts that lie in the folder of its name: the schema (`schema.ts`) says what goes in and out, the judge
 * (`judge.ts`) compares, weighs and shows its answers. `tasks.ts` is the table of them. Who serves, who routes, who imports and who
 * asks know a task by this alone; only its runner (`shared/inference/tasks/`) knows its graph.
 */
import type { z } from 'zod';
import type { NeutralValues } from './forms/neutral.ts';
import type { LossOptions } from './loss-options.ts';
import type { TensorSpec } from './tensor/signature.ts';

/**
 * `image`, `audio`: an encoded file. `text`: UTF-8. `json`: a JSON document of the task's `inputs`. `tensors`: such a document, or
 * safetensors.
 */
export type InputKind = 'image' | 'audio' | 'text' | 'json' | 'tensors';

interface Common {
  /** Of a `json` body, and of `tensors` in JSON. */
  readonly inputs?: z.ZodType<unknown>;
  readonly parameters: z.ZodType<Record<string, unknown>>;
  /** Whether a request without parameters can't be answered. */
  readonly needsParameters?: true;
  /** Parameters that official clients send and that are not done here, with the values at which they change nothing. */
  readonly neutral?: NeutralValues;
  /** Other names of parameters, as some clients have them. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Whether HTTP callers may write parameters beside `inputs`, too, as Hugging Face's API has it. */
  readonly hasParametersBeside?: true;
  readonly output: z.ZodType<unknown>;
  /**
   * Labels with their scores, best first, as the output: of the model's `own` labels, or of those that are `given` with the request;
   * null for any other output.
   */
  readonly ranks: 'own' | 'given' | null;
  /**
   * How Hugging Face's API lists the answers of one request: as a list `always`, `where-asked` with a list, or `as-rows` of one matrix.
   */
  readonly listed: 'always' | 'where-asked' | 'as-rows';
  /** Whether it answers token by token where that is wanted. */
  readonly streams?: true;
  /** `hub`: its models run in the hub alone. */
  readonly runsOn: 'device' | 'hub';
}

interface OfPicture extends Common {
  readonly inputKind: 'image';
  /** Whether a picture must travel as it is; one made smaller on its way, to what the model's preprocessing leaves of it, won't do. */
  readonly needsEveryPixel: boolean;
}

interface OfOther extends Common {
  readonly inputKind: Exclude<InputKind, 'image'>;
}

/** Schema of what goes into a task and comes out of it, in Hugging Face's names and shapes. */
export type TaskSchema = OfPicture | OfOther;

/** An input as a judge makes it up: the body in the form of the task's input kind. */
export interface MadeInput {
  readonly body: Uint8Array;
  readonly parameters?: Readonly<Record<string, unknown>>;
}

/** Facts of a model on which the smallest input of some tasks depends. */
export interface ModelFacts {
  /** For messages. */
  readonly name: string;
  /** Tensors that the graph takes; undefined where its import has not written them down. */
  readonly inputs: readonly TensorSpec[] | undefined;
  /** Shapes that the graph was seen to take, by the names of its inputs; undefined: dynamic axes have length 1. */
  readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  /** The token that stands for a masked word. @throws MODEL_INVALID (it has none) */
  readonly maskToken: () => Promise<string>;
  /** Samples (undefined: any number) and channels of a time series. @throws MODEL_INVALID (nothing says them) */
  readonly windowShape: () => Promise<{ readonly length: number | undefined; readonly channels: number }>;
}

/** Rows under their headings. */
export interface AnswerTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Compares, weighs and shows the answers of a task. Pure; answers are read kindly, because other systems have recorded some of them. */
export interface Judge {
  /**
   * How much the local answer differs from the cloud's: what the promise of agreement is about (docs/design/router.md 3).
   *
   * @returns 0 when they agree, 1 when they don't, between the two where they partly do; an answer that cannot be read is a disagreement
   */
  lossOf(local: unknown, cloud: unknown, options: LossOptions): number;
  /**
   * How sure a model is, from its answer alone: for recorded answers of other systems, which keep no logits (docs/design/router.md 3). Where
   * there are logits, its runner says more. Higher is surer; any answer has a score, and it is finite.
   *
   * @param random uniform in [0, 1): the score where the answer says nothing of how sure it is (tensors, texts). By it a certified
   *   share stays local at random.
   * @returns `ROUTE_SCORE_FLOOR` for an answer that cannot be read
   */
  routeScoreOf(answer: unknown, random: () => number): number;
  /**
   * Whether an answer is the golden one, as near as machines differ: quantized models round differently on other processors.
   *
   * @param expected of the form of the task, as is `actual`
   * @returns what is wrong, for people; undefined where they are the same
   */
  differenceOf(expected: unknown, actual: unknown): string | undefined;
  /**
   * The least that can be asked: whether a model answers at all, where it has no golden inputs.
   *
   * @param which there are two, so that it can be seen whether an answer depends on its neighbour in a batch
   * @throws MODEL_INVALID (tensors of unknown names and shapes; a masked model without a mask)
   */
  smallestInput(which: 0 | 1, facts: ModelFacts): MadeInput | Promise<MadeInput>;
  /** The answer for people: rows where there are several things, else a text; undefined where it is of another form. */
  shown(answer: unknown): string | AnswerTable | undefined;
}

/** A task: its schema, with its judge. */
export type Task = TaskSchema & { readonly judge: Judge };
