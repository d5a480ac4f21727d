/**
 * Hugging Face's task API: `POST /hf/models/{model}` with raw bytes of a picture or a sound, plain text, or `{"inputs", "parameters"}`;
 * the task's standard output comes back, in the shape that the official clients check for. Text generation streams by `stream: true`.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { z } from 'zod';
import { jsonBody, maxBodyBytes, weightOf } from '../../../shared/contract/http-input.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import { comparison, similarities } from '../../../shared/tasks/sentence-similarity/schema.ts';
import { TASKS, type TaskInput, type TaskName } from '../../../shared/tasks/tasks.ts';
import type { Asking, InferenceReply, ModelCatalog, Question } from '../../ports.ts';
import { type Api, binary, CODING_HEADER, json, modelOf, mount, type Operation } from '../frame/endpoint.ts';
import type { HubEnv } from '../frame/face.ts';
import type { Guards } from '../frame/guards.ts';
import { PRIORITY_HEADER } from '../frame/priority.ts';
import type { HubReading } from '../reading/readers.ts';
import { completion, completionRequest, toChunk, toCompletion, toUsageChunk } from './completions.ts';
import { type TaskRequest, toTaskOutput } from './forms.ts';
import { reranked, rerankRequest } from './rerank.ts';
import { COMPARING } from './similarity.ts';
import { openTokenStream, type TokenEvent } from './token-stream.ts';

/** Models that the task API finds, and the way by which it asks them. */
export interface HuggingFaceOptions {
  readonly guards: Guards;
  readonly catalog: ModelCatalog;
  readonly asking: Asking;
  readonly bodies: BodyReader;
  readonly reading: HubReading;
  readonly clock: Clock;
}

/** An HTTP caller's time-out is its expiry: the clients of Hugging Face wait a minute. */
const EXPIRES_MS = 60_000;
/** Expiry of a stream: its reader sees that it goes on. */
const STREAM_EXPIRES_MS = 600_000;

/** Each task's own, see docs/protocol.md; a list where the clients read one, or a list of inputs was sent. */
const output = z.union([...new Set(Object.values(TASKS).map((task) => task.output))]);
const events = { 'text/event-stream': z.string() };

/** The face below `/hf`. */
export function createHuggingFaceApi(options: HuggingFaceOptions): Api {
  const { guards } = options;
  const app: Api = new OpenAPIHono();
  const shared = {
    method: 'post',
    tag: 'Hugging Face',
    errors: 'hugging-face',
    guard: guards.key('infer'),
    headers: { ...CODING_HEADER, ...PRIORITY_HEADER },
  } as const;
  const answer = json('The task’s standard output', z.union([output, z.array(output), similarities]));
  const operation: Operation = {
    ...{
      ...shared,
      path: '/models/{model}',
      summary: 'Runs a model on a picture, a sound, a text, or up to 64 texts',
    },
    // A text as it is comes as bytes, too: generated clients know no third kind of body.
    body: { 'application/json': jsonBody, 'application/octet-stream': binary },
    responses: {
      200: { ...answer, content: { ...answer.content, ...events } },
    },
  };
  // Before what takes `org/name` for a model's name.
  const rerank: Operation = {
    ...{
      ...shared,
      path: '/models/{model}/rerank',
      summary: 'Ranks texts by a query',
      ownErrors: 'text-embeddings',
    },
    body: { 'application/json': rerankRequest },
    responses: { 200: json('Texts by their index, best first', reranked) },
  };
  mount(app, rerank, (c) => rank(c, options));
  mount(app, operation, (c) => runTask(c, options));
  const rows: Operation = {
    ...{
      ...shared,
      path: '/models/{model}/pipeline/feature-extraction',
      summary: 'Turns texts into numbers',
    },
    body: { 'application/json': jsonBody },
    responses: { 200: json('One row for each text', TASKS['feature-extraction'].output) },
  };
  mount(app, rows, (c) => runTask(c, options, ['feature-extraction']));
  const similarity: Operation = {
    ...{
      ...shared,
      path: '/models/{model}/pipeline/sentence-similarity',
      summary: 'Compares sentences with one, by their embeddings',
    },
    body: { 'application/json': z.object({ inputs: comparison, parameters: z.looseObject({}).nullish() }) },
    responses: { 200: json('The cosine for each sentence', similarities) },
  };
  mount(app, similarity, (c) => runTask(c, options, COMPARING, 'comparison'));
  const completions: Operation = {
    ...{ ...shared, path: '/models/{model}/v1/completions', summary: 'Goes on with a prompt' },
    body: { 'application/json': completionRequest },
    responses: { 200: { what: 'The text', content: { 'application/json': completion, ...events } } },
  };
  mount(app, completions, (c) => complete(c, options));
  return app;
}

/** @param wanted by the address; undefined: any @throws MODEL_UNKNOWN, BAD_REQUEST */
function taskOf(
  name: string,
  { catalog }: HuggingFaceOptions,
  wanted: readonly TaskName[] | undefined,
): TaskName {
  const { task } = catalog.resolve(name);
  if (wanted !== undefined && !wanted.includes(task))
    throw new AppError('BAD_REQUEST', `${name} does ${task}, not ${wanted.join(' or ')}`);
  return task;
}

/** @param wanted tasks that the address means @param form what its body must be */
function runTask(
  c: Context<HubEnv>,
  options: HuggingFaceOptions,
  wanted?: readonly TaskName[],
  form?: TaskRequest['form'],
): Promise<Response> {
  const { asking, bodies, reading, clock } = options;
  const arrivedMonoMs = clock.nowMonoMs();
  const model = modelOf(c);
  const task = taskOf(model, options, wanted);
  return bodies.with(c.req.raw, maxBodyBytes(task), async (body) => {
    const contentType = c.req.header('content-type');
    const weightBytes = weightOf(task, body, contentType);
    const request = await reading.read('task', body, { task, contentType }, weightBytes);
    const { inputs, isStreamed } = request;
    // A model that compares by itself checks it itself.
    if (form !== undefined && request.form !== form && task !== 'sentence-similarity')
      throw new AppError('INPUT_INVALID', 'inputs: {"source_sentence": string, "sentences": strings}');
    const [only] = inputs;
    if (isStreamed && only) {
      const input = { ...only, parameters: { ...only.parameters, details: true } };
      return stream(c, options, { model, arrivedMonoMs, inputs: [input], toEvent: (event) => event });
    }
    const replies = await asking.ask(questionOf(c, { model, arrivedMonoMs, inputs }, EXPIRES_MS));
    say(c, replies);
    const outputs = replies.map((reply) => reply.output);
    const userAgent = c.req.header('user-agent');
    return answerJson(c, toTaskOutput(task, outputs, { form: request.form, userAgent }));
  });
}

function rank(c: Context<HubEnv>, options: HuggingFaceOptions): Promise<Response> {
  const { asking, bodies, reading, clock } = options;
  const arrivedMonoMs = clock.nowMonoMs();
  const model = modelOf(c);
  const task = taskOf(model, options, ['text-ranking']);
  return bodies.with(c.req.raw, maxBodyBytes(task), async (body) => {
    const inputs = [await reading.read('rerank', body, undefined)];
    const replies = await asking.ask(questionOf(c, { model, arrivedMonoMs, inputs }, EXPIRES_MS));
    say(c, replies);
    return answerJson(c, onlyOf(replies).output);
  });
}

function complete(c: Context<HubEnv>, options: HuggingFaceOptions): Promise<Response> {
  const { asking, bodies, reading, clock } = options;
  const arrivedMonoMs = clock.nowMonoMs();
  const model = modelOf(c);
  const task = taskOf(model, options, ['text-generation']);
  const said = { requestId: c.get('requestId'), atMs: clock.nowAtMs(), model };
  return bodies.with(c.req.raw, maxBodyBytes(task), async (body) => {
    const { input, isStreamed, wantsUsage } = await reading.read('completion', body, undefined);
    const asked = { model, arrivedMonoMs, inputs: [input] };
    if (isStreamed) {
      const toEvent = (event: TokenEvent): object => toChunk(event, said);
      const lastLines = (reply: InferenceReply): readonly string[] => [
        ...(wantsUsage ? [JSON.stringify(toUsageChunk(reply, said))] : []),
        '[DONE]',
      ];
      return stream(c, options, { ...asked, toEvent, lastLines });
    }
    const replies = await asking.ask(questionOf(c, asked, EXPIRES_MS));
    say(c, replies);
    return answerJson(c, toCompletion(onlyOf(replies), said));
  });
}

interface Asked {
  readonly model: string;
  readonly arrivedMonoMs: number;
  readonly inputs: readonly TaskInput[];
}

const questionOf = (c: Context<HubEnv>, asked: Asked, expiresMs: number): Question => ({
  ...{ ...asked, expiresMs, who: c.get('holder'), requestId: c.get('requestId') },
  // Made when it is asked for, which few tasks do.
  get signal() {
    return c.req.raw.signal;
  },
});

async function stream(
  c: Context<HubEnv>,
  { asking, catalog }: HuggingFaceOptions,
  asked: Asked & {
    readonly toEvent: (event: TokenEvent) => unknown;
    readonly lastLines?: (reply: InferenceReply) => readonly string[];
  },
): Promise<Response> {
  const { toEvent, lastLines, ...rest } = asked;
  const { ref } = catalog.resolve(asked.model);
  const question = questionOf(c, rest, STREAM_EXPIRES_MS);
  const opened = await openTokenStream({
    ask: async (control) => onlyOf(await asking.ask({ ...question, ...control })),
    callerSignal: c.req.raw.signal,
    toEvent,
    ...(lastLines && { lastLines }),
  });
  c.header('x-outrider-model', `${ref.name}@${ref.version}`);
  return c.body(opened, 200, { 'content-type': 'text/event-stream' });
}

function onlyOf([reply]: readonly InferenceReply[]): InferenceReply {
  if (!reply) throw new AppError('INVARIANT_BROKEN', 'a request without a reply');
  return reply;
}

/** Which version has answered, and how long it took; of several the first's. */
function say(c: Context<HubEnv>, [reply]: readonly InferenceReply[]): void {
  if (!reply) return;
  const { queue, preprocess, inference } = reply.timingsMs;
  c.header('x-outrider-model', `${reply.model.name}@${reply.model.version}`);
  c.header('server-timing', `queue;dur=${queue}, preprocess;dur=${preprocess}, inference;dur=${inference}`);
}

const answerJson = (c: Context<HubEnv>, value: unknown): Response =>
  c.body(JSON.stringify(value), 200, { 'content-type': 'application/json' });
