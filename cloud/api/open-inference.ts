/**
 * The Open Inference Protocol (KServe v2) with Triton's binary tensors: `/v2/…`. A model takes one BYTES tensor, called by what it is:
 * `text`, `json`, `image` or `audio` (an encoded file; base64 in JSON). Classification answers with the tensors `label` and `score`,
 * every other task with one BYTES tensor, `output`: its JSON, an element for each input. Models of raw tensors take and give theirs.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { z } from 'zod';
import { DEFAULT_DEADLINE_MS } from '../../shared/contract/limits.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import { classification, tensor, tensorType } from '../../shared/contract/task-schemas.ts';
import {
  CONTENT_TYPES,
  type InputKind,
  MAX_INPUT_BYTES,
  TASKS,
  type TaskInput,
  type TaskName,
} from '../../shared/contract/tasks.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import type {
  InferenceReply,
  Inferencer,
  ModelCatalog,
  ModelShelf,
  ModelSignatures,
  UsageLedger,
} from '../ports.ts';
import type { BodyReader } from './body.ts';
import { type Api, anyBytes, json, modelOf, mount, type Operation } from './endpoint.ts';
import type { HubEnv } from './face.ts';
import type { Guards } from './guards.ts';
import {
  decodeRequest,
  encodeResponse,
  type InferRequest,
  type InputForm,
  inferRequest,
  inferResponse,
  type OutputTensor,
  readElements,
  readTensors,
} from './open-inference-codec.ts';
import { graphTensors } from './open-inference-signature.ts';

export interface OpenInferenceOptions {
  readonly guards: Guards;
  readonly models: ModelCatalog & ModelShelf & ModelSignatures;
  readonly inferencer: Inferencer;
  readonly usage: UsageLedger;
  readonly bodies: BodyReader;
  readonly clock: Clock;
  /** Why the hub cannot answer now; undefined when it can. */
  readonly ready: () => string | undefined;
}

/** An HTTP caller's time-out is its expiry; Triton's clients wait a minute. */
const EXPIRES_MS = 60_000;
/** All elements together; base64 makes pictures larger by a third, JSON escapes a text up to six times. */
const JSON_GROWTH: Readonly<Record<InputKind, number>> = {
  image: 1.4,
  audio: 1.4,
  text: 6,
  json: 6,
  tensors: 1,
};

const tensorMetadata = z.object({
  name: z.string(),
  datatype: tensorType,
  /** -1: of any length. */
  shape: z.array(z.int()),
});
const modelMetadata = z.object({
  name: z.string(),
  versions: z.array(z.string()),
  platform: z.literal('onnxruntime_onnx'),
  inputs: z.array(tensorMetadata),
  outputs: z.array(tensorMetadata),
});
const serverMetadata = z.object({ name: z.string(), version: z.string(), extensions: z.array(z.string()) });
const repositoryIndex = z.array(
  z.object({ name: z.string(), version: z.string(), state: z.literal('READY'), reason: z.string() }),
);

type TensorMetadata = z.infer<typeof tensorMetadata>;
const LABELS: readonly TensorMetadata[] = [
  { name: 'label', datatype: 'BYTES', shape: [-1] },
  { name: 'score', datatype: 'FP32', shape: [-1] },
];
const JSON_OUTPUT: readonly TensorMetadata[] = [{ name: 'output', datatype: 'BYTES', shape: [-1] }];

/** Answers that fit into two tensors. */
const isLabelled = (task: TaskName): boolean =>
  task === 'image-classification' || task === 'text-classification';
const fixedOutputs = (task: TaskName): readonly TensorMetadata[] => (isLabelled(task) ? LABELS : JSON_OUTPUT);
/** Parameters of the protocol itself, and of Triton; the others are the task's. */
const PROTOCOL_PARAMETERS: ReadonlySet<string> = new Set([
  ...['timeout', 'binary_data_output', 'priority'],
  ...['sequence_id', 'sequence_start', 'sequence_end'],
]);

type Model = ReturnType<ModelCatalog['resolve']>;

export function createOpenInferenceApi(options: OpenInferenceOptions): Api {
  const app: Api = new OpenAPIHono();
  mountServer(app, options);
  // The longer first: an organisation's model is never called `ready` or `infer` by the shorter ones.
  for (const base of ['/models/{model}/versions/{version}', '/models/{model}'])
    mountModel(app, base, options);
  return app;
}

/** What all operations here have in common. */
const common = (guards: Guards): Pick<Operation, 'tag' | 'errors' | 'guard'> => ({
  tag: 'Open Inference Protocol',
  errors: 'open-inference',
  guard: guards.key('infer'),
});

function mountServer(app: Api, { guards, models, ready }: OpenInferenceOptions): void {
  const shared = common(guards);
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: '', summary: 'Says what this server is' },
      responses: { 200: json('Name, version and extensions', serverMetadata) },
    },
    (c) => c.json({ name: 'outrider', version: VERSION, extensions: ['binary_tensor_data'] }),
  );
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: '/health/live', summary: 'Says whether the hub lives' },
      responses: { 200: json('It lives', z.object({ live: z.literal(true) })) },
    },
    (c) => c.json({ live: true }),
  );
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: '/health/ready', summary: 'Says whether the hub can answer' },
      responses: {
        200: json('It can', z.object({ ready: z.literal(true) })),
        503: json('It cannot now', z.object({ ready: z.literal(false), error: z.string() })),
      },
    },
    (c) => {
      const reason = ready();
      return reason === undefined ? c.json({ ready: true }) : c.json({ ready: false, error: reason }, 503);
    },
  );
  mount(
    app,
    {
      ...{ ...shared, method: 'post', path: '/repository/index', summary: 'Lists the models' },
      responses: { 200: json('Each in the version that the hub runs', repositoryIndex) },
    },
    // One that is not in memory is loaded when it is asked.
    (c) => c.json(models.list().map(({ name, version }) => ({ name, version, state: 'READY', reason: '' }))),
  );
}

function mountModel(app: Api, base: string, options: OpenInferenceOptions): void {
  const { guards, models } = options;
  const shared = common(guards);
  const bytes = { 'application/octet-stream': anyBytes };
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: `${base}/ready`, summary: 'Says whether a model can answer' },
      responses: { 200: json('It can', z.object({ name: z.string(), ready: z.literal(true) })) },
    },
    (c) => c.json({ name: resolve(c, models).ref.name, ready: true }),
  );
  mount(
    app,
    {
      ...{
        ...shared,
        method: 'post',
        path: `${base}/infer`,
        summary: 'Runs a model on 1 to 64 elements, or on tensors',
      },
      headers: {
        'Inference-Header-Content-Length': 'The length of the JSON, where binary tensors follow it',
      },
      body: { 'application/json': inferRequest, ...bytes },
      responses: {
        200: {
          what:
            'Of each element the best label and its score: [N], or [N,K] with the parameter `top_k`; or the JSON of its answer: ' +
            '`output` [N]; or the tensors of the graph',
          content: { 'application/json': inferResponse, ...bytes },
        },
      },
    },
    (c) => infer(c, options),
  );
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: base, summary: 'Says what a model takes and gives' },
      responses: { 200: json('Its metadata', modelMetadata) },
    },
    async (c) => {
      const { ref, task } = resolve(c, models);
      const graph = task === 'tensor' ? graphTensors(await models.signature(ref.name)) : undefined;
      return c.json({
        name: ref.name,
        versions: [ref.version],
        platform: 'onnxruntime_onnx',
        inputs: graph?.inputs ?? [{ name: inputForm(task).name, datatype: 'BYTES', shape: [-1] }],
        outputs: [...(graph?.outputs ?? fixedOutputs(task))],
      } satisfies z.input<typeof modelMetadata>);
    },
  );
}

/** @throws MODEL_UNKNOWN, also for a version that is not the one that the hub runs */
function resolve(c: Context<HubEnv>, models: ModelCatalog): Model {
  const name = modelOf(c);
  const found = models.resolve(name);
  const version = c.req.param('version');
  if (version !== undefined && version !== found.ref.version)
    throw new AppError('MODEL_UNKNOWN', `the hub runs version ${found.ref.version} of ${name} and no other`);
  return found;
}

function inputForm(task: TaskName): InputForm {
  const { inputKind } = TASKS[task];
  return { name: inputKind, isBase64: inputKind === 'image' || inputKind === 'audio' };
}

async function infer(c: Context<HubEnv>, options: OpenInferenceOptions): Promise<Response> {
  const { models, bodies, clock } = options;
  const arrivedMonoMs = clock.nowMonoMs();
  const { ref, task } = resolve(c, models);
  const { inputKind } = TASKS[task];
  return bodies.with(
    c.req.raw,
    Math.floor(MAX_INPUT_BYTES[inputKind] * JSON_GROWTH[inputKind]),
    async (body) => {
      const request = decodeRequest(body, headBytesOf(c));
      const { head } = request;
      const wanted = task === 'tensor' ? undefined : wantedOutputs(head, fixedOutputs(task));
      const inputs =
        task === 'tensor'
          ? [toTensorInput(request)]
          : readElements(request, inputForm(task)).map((one) => toInput(task, one, head.parameters));
      const waitMs = Math.min(EXPIRES_MS, (head.parameters?.timeout ?? Number.POSITIVE_INFINITY) / 1_000);
      // All are waited for: the body's memory is theirs until then.
      const settled = await Promise.allSettled(
        inputs.map((input) =>
          options.inferencer.infer({
            model: ref.name,
            input,
            deadlineMonoMs: arrivedMonoMs + Math.min(DEFAULT_DEADLINE_MS, waitMs),
            expiresMonoMs: arrivedMonoMs + waitMs,
            ...(TASKS[task].runsOn === 'hub' && { signal: c.req.raw.signal }),
          }),
        ),
      );
      const replies = settled.map((one) => {
        if (one.status === 'rejected') throw one.reason;
        return one.value;
      });
      record(c, options, { replies, inputs });
      const [first] = replies;
      const outputs = wanted
        ? (isLabelled(task) ? labelsOf : jsonOf)(replies, head, wanted)
        : tensorsOf(replies, head);
      return respond(c, { ref: first?.model ?? ref, head, outputs });
    },
  );
}

function headBytesOf(c: Context): number | undefined {
  const text = c.req.header('inference-header-content-length');
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text))
    throw new AppError('BAD_REQUEST', 'Inference-Header-Content-Length: a number of bytes');
  return Number(text);
}

/** @throws PARAMETERS_INVALID, INPUT_TOO_LARGE */
function toTensorInput(request: ReturnType<typeof decodeRequest>): TaskInput {
  const body = Buffer.from(JSON.stringify(readTensors(request)));
  if (body.length > MAX_INPUT_BYTES.tensors)
    throw new AppError('INPUT_TOO_LARGE', `the tensors are over ${MAX_INPUT_BYTES.tensors} bytes`);
  const { outputs = [], parameters } = request.head;
  const names = outputs.length === 0 ? {} : { outputs: outputs.map(({ name }) => name) };
  return {
    contentType: CONTENT_TYPES.json,
    body,
    parameters: checkedParameters('tensor', parameters, names),
  };
}

/** What a request says beside the protocol's own words is the task's. @throws PARAMETERS_INVALID */
function checkedParameters(
  task: TaskName,
  given: InferRequest['parameters'],
  more: Record<string, unknown> = {},
): Record<string, unknown> {
  const own = Object.entries(given ?? {}).filter(([name]) => !PROTOCOL_PARAMETERS.has(name));
  const parsed = TASKS[task].parameters.safeParse({ ...Object.fromEntries(own), ...more });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AppError('PARAMETERS_INVALID', `${issue?.path.join('.') || 'parameters'}: ${issue?.message}`);
}

/** @throws INPUT_TOO_LARGE, INPUT_INVALID, PARAMETERS_INVALID */
function toInput(task: TaskName, body: Uint8Array, parameters: InferRequest['parameters']): TaskInput {
  const kind = TASKS[task].inputKind;
  if (body.length > MAX_INPUT_BYTES[kind])
    throw new AppError('INPUT_TOO_LARGE', `an element is over ${MAX_INPUT_BYTES[kind]} bytes`);
  const contentType = CONTENT_TYPES[kind];
  if (!isLabelled(task)) {
    const { inputs } = TASKS[task];
    if (inputs && !inputs.safeParse(tryParseJson(body)).success)
      throw new AppError('INPUT_INVALID', `an element is not the JSON input of ${task}`);
    return { contentType, body, parameters: checkedParameters(task, parameters) };
  }
  const { top_k = 1, function_to_apply } = parameters ?? {};
  return {
    ...{ contentType, body },
    parameters: { top_k, ...(function_to_apply !== undefined && { function_to_apply }) },
  };
}

/** Each element is a request of its own to the models, and to the ledger. */
function record(
  c: Context<HubEnv>,
  { usage, clock }: OpenInferenceOptions,
  { replies, inputs }: { replies: readonly InferenceReply[]; inputs: readonly TaskInput[] },
): void {
  for (const [i, reply] of replies.entries())
    usage.record({
      atMs: clock.nowAtMs(),
      who: c.get('holder').id,
      requestId: i === 0 ? c.get('requestId') : `${c.get('requestId')}.${i}`,
      model: reply.model,
      inputBytes: inputs[i]?.body.length ?? 0,
      inferenceMs: reply.timingsMs.inference,
    });
}

interface Wanted {
  readonly name: string;
  readonly isBinary: boolean;
}

/** Which outputs in which form, in the order in which they were asked for. @throws BAD_REQUEST */
function wantedOutputs({ outputs, parameters }: InferRequest, has: readonly TensorMetadata[]): Wanted[] {
  const byDefault = parameters?.binary_data_output ?? false;
  if (!outputs || outputs.length === 0) return has.map(({ name }) => ({ name, isBinary: byDefault }));
  return outputs.map(({ name, parameters: own }) => {
    if (!has.some((one) => one.name === name))
      throw new AppError(
        'BAD_REQUEST',
        `the model’s outputs are called ${has.map((one) => one.name).join(' and ')}, none ${name.slice(0, 64)}`,
      );
    return { name, isBinary: own?.binary_data ?? byDefault };
  });
}

/** The JSON of each answer. */
function jsonOf(
  replies: readonly InferenceReply[],
  _head: InferRequest,
  wanted: readonly Wanted[],
): OutputTensor[] {
  const data = replies.map(({ output }) => JSON.stringify(output));
  return wanted.map(({ name, isBinary }) => ({
    ...{ name, isBinary, data },
    shape: [data.length],
    datatype: 'BYTES' as const,
  }));
}

/** The graph's own tensors, in the order in which they were asked for. */
function tensorsOf(
  [reply]: readonly InferenceReply[],
  { outputs = [], parameters }: InferRequest,
): OutputTensor[] {
  const byDefault = parameters?.binary_data_output ?? false;
  const made = z.array(tensor).parse(reply?.output);
  return made.map(({ name, shape, datatype, data }) => {
    const isBinary = outputs.find((one) => one.name === name)?.parameters?.binary_data ?? byDefault;
    return { name, shape, datatype, data, isBinary };
  });
}

function labelsOf(
  replies: readonly InferenceReply[],
  { parameters }: InferRequest,
  wanted: readonly Wanted[],
): OutputTensor[] {
  const rows = replies.map(({ output }) => z.array(classification).parse(output));
  const k = rows[0]?.length ?? 0;
  if (k === 0 || rows.some(({ length }) => length !== k))
    throw new AppError('INVARIANT_BROKEN', 'the rows of one answer differ in length');
  const shape = parameters?.top_k === undefined ? [rows.length] : [rows.length, k];
  const flat = parameters?.top_k === undefined ? rows.flatMap((row) => row.slice(0, 1)) : rows.flat();
  return wanted.map(({ name, isBinary }) => ({
    name,
    shape,
    isBinary,
    ...(name === 'label'
      ? { datatype: 'BYTES' as const, data: flat.map(({ label }) => label) }
      : { datatype: 'FP32' as const, data: flat.map(({ score }) => score) }),
  }));
}

function respond(
  c: Context<HubEnv>,
  { ref, head, outputs }: { ref: ModelRef; head: InferRequest; outputs: readonly OutputTensor[] },
): Response {
  const { body, headBytes } = encodeResponse(
    {
      model_name: ref.name,
      model_version: ref.version,
      ...(head.id !== undefined && { id: head.id }),
    },
    outputs,
  );
  if (headBytes === undefined)
    return c.body(new Uint8Array(body), 200, { 'content-type': 'application/json' });
  return c.body(new Uint8Array(body), 200, {
    'content-type': 'application/octet-stream',
    'inference-header-content-length': String(headBytes),
  });
}
