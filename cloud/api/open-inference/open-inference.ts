/**
 * The Open Inference Protocol (KServe v2) with Triton's binary tensors: `/v2/…`. A model takes one BYTES tensor, called by what it is:
 * `text`, `json`, `image` or `audio` (an encoded file; base64 in JSON). Classification answers with the tensors `label` and `score`,
 * every other task with one BYTES tensor, `output`: its JSON, an element for each input. Models of raw tensors take and give theirs.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { z } from 'zod';
import type { ModelLoad } from '../../../shared/contract/admin.ts';
import { maxBodyBytes } from '../../../shared/contract/http-input.ts';
import type { ModelRef } from '../../../shared/contract/names.ts';
import type { ModelSpec } from '../../../shared/release/folder/model-spec.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import { VERSION } from '../../../shared/runtime/version.ts';
import type { TaskName } from '../../../shared/tasks/tasks.ts';
import type { Asking, ModelCatalog, ModelDescriptions, ModelShelf, ModelStatistics } from '../../ports.ts';
import { type Api, binary, CODING_HEADER, json, modelOf, mount, type Operation } from '../frame/endpoint.ts';
import type { HubEnv } from '../frame/face.ts';
import { type Guards, OPEN } from '../frame/guards.ts';
import { PRIORITY_HEADER } from '../frame/priority.ts';
import type { HubReading } from '../reading/readers.ts';
import { encodeResponse, type InferHead, inferRequest, inferResponse, type OutputTensor } from './codec.ts';
import { fixedOutputs, inputForm, outputsFor, tensorMetadata, wantsClasses, weightOf } from './forms.ts';
import { graphTensors } from './signature.ts';
import {
  configOf,
  type ModelTensors,
  modelConfig,
  modelStatistics,
  refuseAbsent,
  statisticsOf,
} from './triton.ts';

/** Models with their signatures, the way to ask them, and the hub’s readiness. */
export interface OpenInferenceOptions {
  readonly guards: Guards;
  readonly models: ModelCatalog & ModelShelf & ModelDescriptions;
  readonly statistics: ModelStatistics;
  readonly asking: Asking;
  /** Whether a runner holds the model now, and what runs it. */
  readonly loadOf: (model: string) => ModelLoad;
  readonly bodies: BodyReader;
  readonly reading: HubReading;
  readonly clock: Clock;
  /** Why the hub cannot answer now; undefined when it can. */
  readonly ready: () => string | undefined;
}

/** An HTTP caller's time-out is its expiry; Triton's clients wait a minute. */
const EXPIRES_MS = 60_000;

/** By Triton's names. */
const EXTENSIONS = ['binary_tensor_data', 'classification', 'model_configuration', 'statistics'];

const modelMetadata = z.object({
  name: z.string(),
  versions: z.array(z.string()),
  platform: z.literal('onnx_onnxv1'),
  inputs: z.array(tensorMetadata),
  outputs: z.array(tensorMetadata),
});
const serverMetadata = z.object({ name: z.string(), version: z.string(), extensions: z.array(z.string()) });
const repositoryIndex = z.array(
  z.object({ name: z.string(), version: z.string(), state: z.literal('READY'), reason: z.string() }),
);

type Model = ReturnType<ModelCatalog['resolve']>;

/** The face below `/v2`. */
export function createOpenInferenceApi(options: OpenInferenceOptions): Api {
  const app: Api = new OpenAPIHono();
  refuseAbsent(app, options.guards.key('infer'));
  mountServer(app, options);
  // The longer first: an organisation's model is never called `ready` or `infer` by the shorter ones.
  for (const base of ['/models/{model}/versions/{version}', '/models/{model}'])
    mountModel(app, base, options);
  return app;
}

/** Tag, shape of failures and guard of all operations here. */
const common = (guards: Guards): Pick<Operation, 'tag' | 'errors' | 'guard'> => ({
  tag: 'Open Inference Protocol',
  errors: 'open-inference',
  guard: guards.key('infer'),
});

function mountServer(app: Api, { guards, models, statistics, ready }: OpenInferenceOptions): void {
  const shared = common(guards);
  // Clients ask whether a server lives before they have been told a key.
  const open = { ...shared, guard: OPEN };
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: '', summary: 'Says what this server is' },
      responses: { 200: json('Name, version and extensions', serverMetadata) },
    },
    (c) => c.json({ name: 'outrider', version: VERSION, extensions: EXTENSIONS }),
  );
  mount(
    app,
    {
      ...{ ...open, method: 'get', path: '/health/live', summary: 'Says whether the hub lives' },
      responses: { 200: json('It lives', z.object({ live: z.literal(true) })) },
    },
    (c) => c.json({ live: true }),
  );
  mount(
    app,
    {
      ...{ ...open, method: 'get', path: '/health/ready', summary: 'Says whether the hub can answer' },
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
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: '/models/stats', summary: 'Shows the statistics of all models' },
      responses: { 200: json('Since the hub started', modelStatistics) },
    },
    (c) =>
      c.json({
        model_stats: models.list().map((one) => statisticsOf(one, statistics.countsOf(one.name))),
      } satisfies z.input<typeof modelStatistics>),
  );
}

function mountModel(app: Api, base: string, options: OpenInferenceOptions): void {
  const { guards, models } = options;
  const shared = common(guards);
  const bytes = { 'application/octet-stream': binary };
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
        ...CODING_HEADER,
        ...PRIORITY_HEADER,
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
  mountDescriptions(app, base, options);
}

function mountDescriptions(
  app: Api,
  base: string,
  { guards, models, statistics, loadOf }: OpenInferenceOptions,
): void {
  const shared = common(guards);
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: `${base}/config`, summary: 'Shows how a model is served' },
      responses: { 200: json('Its configuration, in Triton’s form', modelConfig) },
    },
    async (c) => {
      const { ref, task } = resolve(c, models);
      const spec = await models.spec(ref.name);
      const { name, version } = ref;
      return c.json(
        configOf({ name, version, task, spec, provider: loadOf(name).provider }, tensorsIn(task, spec)),
      );
    },
  );
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: `${base}/stats`, summary: 'Shows the statistics of a model' },
      responses: { 200: json('Since the hub started', modelStatistics) },
    },
    (c) => {
      const { ref } = resolve(c, models);
      return c.json({
        model_stats: [statisticsOf(ref, statistics.countsOf(ref.name))],
      } satisfies z.input<typeof modelStatistics>);
    },
  );
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: base, summary: 'Says what a model takes and gives' },
      responses: { 200: json('Its metadata', modelMetadata) },
    },
    async (c) => {
      const { ref, task } = resolve(c, models);
      const { inputs, outputs } = tensorsIn(
        task,
        task === 'tensor' ? await models.spec(ref.name) : undefined,
      );
      return c.json({
        ...{ name: ref.name, versions: [ref.version], platform: 'onnx_onnxv1' },
        ...{ inputs: [...inputs], outputs: [...outputs] },
      } satisfies z.input<typeof modelMetadata>);
    },
  );
}

/** What a model takes and gives. @param spec needed for a graph of raw tensors @throws MODEL_INVALID */
function tensorsIn(task: TaskName, spec: ModelSpec | undefined): ModelTensors {
  if (task === 'tensor') return graphTensors(spec?.signature);
  return {
    inputs: [{ name: inputForm(task).name, datatype: 'BYTES', shape: [-1] }],
    outputs: fixedOutputs(task),
  };
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

async function infer(c: Context<HubEnv>, options: OpenInferenceOptions): Promise<Response> {
  const { models, asking, bodies, reading, clock } = options;
  const arrivedMonoMs = clock.nowMonoMs();
  const { ref, task } = resolve(c, models);
  return bodies.with(c.req.raw, maxBodyBytes(task), async (body) => {
    const headBytes = headBytesOf(c);
    const weightBytes = weightOf(task, body, headBytes);
    const { head, inputs } = await reading.read('inference', body, { task, headBytes }, weightBytes);
    const labels = wantsClasses(head) ? await models.labels(ref.name) : undefined;
    const toOutputs = outputsFor(task, head, labels);
    const replies = await asking.ask({
      ...{ who: c.get('holder'), requestId: c.get('requestId'), model: ref.name, inputs, arrivedMonoMs },
      expiresMs: Math.min(EXPIRES_MS, (head.parameters?.timeout ?? Number.POSITIVE_INFINITY) / 1_000),
      get signal() {
        return c.req.raw.signal;
      },
    });
    const [first] = replies;
    const outputs = toOutputs(replies);
    return respond(c, { ref: first?.model ?? ref, head, outputs });
  });
}

function headBytesOf(c: Context): number | undefined {
  const text = c.req.header('inference-header-content-length');
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text))
    throw new AppError('BAD_REQUEST', 'Inference-Header-Content-Length: a number of bytes');
  return Number(text);
}

function respond(
  c: Context<HubEnv>,
  { ref, head, outputs }: { ref: ModelRef; head: InferHead; outputs: readonly OutputTensor[] },
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
