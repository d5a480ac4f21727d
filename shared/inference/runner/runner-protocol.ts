/**
 * What a runner and the process that started it say to each other, over the fork's channel (structured clone, so bytes
 * travel as bytes). Both ends are of one release: no version.
 */
import { z } from 'zod';
import { pictureNeed } from '../../contract/messages.ts';
import { ERROR_CODES } from '../../runtime/errors.ts';
import { taskName } from '../../tasks/tasks.ts';
import { generatedToken } from '../../tasks/text-generation/schema.ts';

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected bytes');
const handle = z.int().min(0);
const callId = z.int().min(0);

const taskInput = z
  .object({ contentType: z.string(), body: bytes, parameters: z.record(z.string(), z.unknown()).optional() })
  // An absent key stays absent (exactOptionalPropertyTypes).
  .transform(({ parameters, ...rest }) => (parameters === undefined ? rest : { ...rest, parameters }));

/** How a picture is made smaller. */
const shrinking = pictureNeed.extend({
  resize: z.union([
    pictureNeed.shape.resize,
    z.object({ kind: z.literal('inside'), longestPx: z.int().min(1) }),
  ]),
  format: z.enum(['webp', 'jpeg', 'grey']),
  quality: z.union([z.int().min(1).max(100), z.literal('lossless')]),
  always: z.boolean(),
  marks: z
    .object({
      boxes: z
        .array(
          z.object({
            text: z.string(),
            box: z.object({ xmin: z.number(), ymin: z.number(), xmax: z.number(), ymax: z.number() }),
          }),
        )
        .readonly(),
      caption: z.string(),
    })
    .nullable(),
});

/** What runs the graph, in ONNX Runtime's names. */
export const executionProvider = z.enum(['cpu', 'cuda', 'webgpu']);
/** What runs the graph, in ONNX Runtime's names. */
export type ExecutionProvider = z.infer<typeof executionProvider>;

/** Exit code of a runner whose execution provider has failed: nothing that it has loaded would run again. */
export const PROVIDER_FAILED_EXIT = 71;

/** Messages to a runner. */
export const toRunner = z.discriminatedUnion('type', [
  /** The first message, once. */
  z.object({
    type: z.literal('load'),
    folder: z.string(),
    threads: z.int().min(1),
    allowSpinning: z.boolean(),
    executionProvider,
    /** Of a runner that has to look after its parent and its memory by itself. */
    watch: z.object({ parentPid: z.int(), maxRssBytes: z.number().positive() }).nullable(),
    /** Its graph runs elsewhere: there; null: here. */
    engine: z
      .object({
        ...{ url: z.string(), key: z.string().nullable(), ca: z.string().nullable(), timeoutMs: z.number() },
        model: z.object({ name: z.string(), version: z.string().nullable() }),
      })
      .nullable(),
  }),
  /**
   * `wantsTokens`: each token of a generation comes by itself, before the answer. `shrink`: the picture comes along, made smaller, where
   * the answer's route score is below this (null: in any case).
   */
  z.object({
    type: z.literal('infer'),
    id: callId,
    input: taskInput,
    wantsTokens: z.boolean(),
    shrink: z.object({ below: z.number().nullable(), to: shrinking }).nullable(),
  }),
  z.object({ type: z.literal('prepare'), id: callId, input: taskInput }),
  z.object({
    type: z.literal('run'),
    id: callId,
    handles: z.array(handle).min(1),
    wantsTokens: z.boolean(),
  }),
  /** A piece of the body of a call that follows: a large one at once would hold its sender up. */
  z.object({ type: z.literal('piece'), call: callId, bytes }),
  /** Nobody waits for this call any more: what can end early does, and refuses with EXPIRED. */
  z.object({ type: z.literal('cancel'), call: callId }),
  z.object({ type: z.literal('discard'), handles: z.array(handle) }),
  z.object({
    type: z.literal('shrink'),
    id: callId,
    body: bytes,
    to: shrinking,
  }),
  /** Finish what is running, then end. */
  z.object({ type: z.literal('stop') }),
]);
export type ToRunner = z.infer<typeof toRunner>;

const errorBody = z.object({ code: z.enum(ERROR_CODES), message: z.string() });
const inference = z.object({
  output: z.unknown(),
  routeScore: z.number(),
  isCut: z.boolean().optional(),
  read: z
    .object({
      tokens: z.int().optional(),
      seconds: z.number().optional(),
      language: z.string().optional(),
    })
    .optional(),
  timingsMs: z.object({ preprocess: z.number(), inference: z.number() }),
});
const outcome = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), value: inference }),
  z.object({ ok: z.literal(false), error: errorBody }),
]);

/** Messages of a runner. */
export const fromRunner = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('ready'),
    name: z.string(),
    task: taskName,
    maxBatchSize: z.int().min(1),
    canBeLong: z.boolean(),
    executionProvider: z.string(),
  }),
  /** Loading failed; the process ends. */
  z.object({ type: z.literal('failed'), error: errorBody }),
  z.object({ type: z.literal('inferred'), id: callId, value: inference, shrunk: bytes.nullable() }),
  z.object({
    type: z.literal('prepared'),
    ...{ id: callId, handle, shapeKey: z.string(), isLong: z.boolean() },
  }),
  z.object({ type: z.literal('ran'), id: callId, outcomes: z.array(outcome) }),
  z.object({ type: z.literal('shrunk'), id: callId, body: bytes }),
  /** A call that takes its time has come a token further: it has not hung. */
  z.object({ type: z.literal('working'), id: callId }),
  /** A part of the answer to a call that wants tokens; `isLast`: the answer itself is next. */
  z.object({ type: z.literal('token'), id: callId, token: generatedToken, isLast: z.boolean() }),
  /** The call failed; the runner goes on. */
  z.object({ type: z.literal('refused'), id: callId, error: errorBody }),
]);
export type FromRunner = z.infer<typeof fromRunner>;
