/**
 * OpenAI's API below `/v1`, as far as the hub's models do it: models, chats, completions, embeddings, transcriptions. The official clients
 * ask it as they ask OpenAI: by their base URL, with a key of the hub. What is not done here is refused by name.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { z } from 'zod';
import { maxBodyBytes } from '../../../shared/contract/http-input.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import { MAX_AUDIO_BYTES } from '../../../shared/tasks/limits.ts';
import type { TaskName } from '../../../shared/tasks/tasks.ts';
import type { Asking, ModelCatalog, ModelShelf } from '../../ports.ts';
import { type Api, CODING_HEADER, json, modelOf, mount, type Operation } from '../frame/endpoint.ts';
import type { HubEnv } from '../frame/face.ts';
import type { Guards } from '../frame/guards.ts';
import type { HubReading } from '../reading/readers.ts';
import { Asked, blaming, modelFor, onlyOf } from './asked.ts';
import { chatCompletion, chatForm, chatRequest } from './chat.ts';
import { textCompletion, textForm, textRequest } from './completions.ts';
import { embeddingList, embeddingRequest, toEmbeddings } from './embeddings.ts';
import { answerStream, answerWhole, type GenerationForm } from './generate.ts';
import {
  maxFormBytes,
  toTranscription,
  transcription,
  transcriptionForm,
  verboseTranscription,
} from './transcriptions.ts';

/** Models that the face lists and finds, and the way by which it asks them. */
export interface OpenAiOptions {
  readonly guards: Guards;
  readonly models: ModelCatalog & Pick<ModelShelf, 'list'>;
  readonly asking: Asking;
  readonly bodies: BodyReader;
  readonly reading: HubReading;
  readonly clock: Clock;
}

/** Tasks that an address here asks for. */
const TASKS_HERE: readonly TaskName[] = [
  'text-generation',
  'feature-extraction',
  'automatic-speech-recognition',
];

const model = z.object({
  id: z.string(),
  object: z.literal('model'),
  /** When its first version came, in seconds since 1970. */
  created: z.int(),
  owned_by: z.string(),
});
const modelList = z.object({ object: z.literal('list'), data: z.array(model) });
const events = { 'text/event-stream': z.string() };

/** Texts of a request for embeddings come many at a time. */
const MAX_EMBEDDING_BYTES = 8 * 1024 * 1024;

/** The face below `/v1`. */
export function createOpenAiApi(options: OpenAiOptions): Api {
  const { guards } = options;
  const app: Api = new OpenAPIHono();
  const shared = { tag: 'OpenAI', errors: 'openai', guard: guards.key('infer') } as const;
  const asking = { ...shared, method: 'post', headers: CODING_HEADER } as const;
  mountModels(app, shared, options);
  const chat: Operation = {
    ...{ ...asking, path: '/chat/completions', summary: 'Answers a chat' },
    body: { 'application/json': chatRequest },
    responses: { 200: { what: 'The answer', content: { 'application/json': chatCompletion, ...events } } },
  };
  mount(app, chat, (c) => generate(c, options, CHAT));
  const completion: Operation = {
    ...{ ...asking, path: '/completions', summary: 'Goes on with a text' },
    body: { 'application/json': textRequest },
    responses: { 200: { what: 'The text', content: { 'application/json': textCompletion, ...events } } },
  };
  mount(app, completion, (c) => generate(c, options, TEXT));
  const embeddings: Operation = {
    ...{ ...asking, path: '/embeddings', summary: 'Turns texts into numbers' },
    body: { 'application/json': embeddingRequest },
    responses: { 200: json('An embedding for each text', embeddingList) },
  };
  mount(app, embeddings, (c) => embed(c, options));
  const sound: Operation = {
    ...{ ...asking, path: '/audio/transcriptions', summary: 'Writes down what is said in a sound' },
    body: { 'multipart/form-data': transcriptionForm },
    responses: {
      200: {
        what: 'The text, in the form that was asked for',
        content: {
          'application/json': z.union([verboseTranscription, transcription]),
          'text/plain': z.string(),
          'text/vtt': z.string(),
        },
      },
    },
  };
  mount(app, sound, (c) => transcribe(c, options));
  return app;
}

/** A chat below the address of its model, among what Hugging Face's clients ask there. */
export function mountModelChat(app: Api, options: OpenAiOptions): void {
  const chat: Operation = {
    ...{ method: 'post', path: '/models/{model}/v1/chat/completions', summary: 'Answers a chat' },
    ...{
      tag: 'Hugging Face',
      errors: 'hugging-face',
      guard: options.guards.key('infer'),
      headers: CODING_HEADER,
    },
    // The address names the model.
    body: { 'application/json': chatRequest.extend({ model: z.unknown().optional() }) },
    responses: { 200: { what: 'The answer', content: { 'application/json': chatCompletion, ...events } } },
  };
  mount(app, chat, (c) => generate(c, options, { ...CHAT, model: modelOf(c) }));
}

function mountModels(
  app: Api,
  shared: Pick<Operation, 'tag' | 'errors' | 'guard'>,
  { models }: OpenAiOptions,
): void {
  const here = (): z.infer<typeof model>[] =>
    models
      .list()
      .filter(({ task }) => TASKS_HERE.includes(task))
      .map(toModel);
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: '/models', summary: 'Lists the models that can be asked here' },
      responses: { 200: json('Chat, text, embedding and speech models', modelList) },
    },
    (c) => c.json({ object: 'list', data: here() }),
  );
  mount(
    app,
    {
      ...{ ...shared, method: 'get', path: '/models/{model}', summary: 'Shows one of them' },
      responses: { 200: json('The model', model) },
    },
    (c) => {
      const name = modelOf(c);
      const { task } = models.resolve(name);
      const found = here().find(({ id }) => id === name);
      if (found) return c.json(found);
      throw new AppError(
        'MODEL_UNKNOWN',
        `${name} does ${task}, which OpenAI’s API has not; ask it at /hf/models/${name}`,
      );
    },
  );
}

function toModel({ name, versions }: ReturnType<ModelShelf['list']>[number]): z.infer<typeof model> {
  const created = Math.floor(Math.min(...versions.map(({ createdAtMs }) => createdAtMs)) / 1000);
  const [org] = name.includes('/') ? name.split('/') : ['outrider'];
  return {
    id: name,
    object: 'model',
    created: Number.isFinite(created) ? created : 0,
    owned_by: org ?? 'outrider',
  };
}

/** What an address generates. */
interface Generating {
  /** The parameter that the model reads. */
  readonly param: string;
  readonly reader: 'chat' | 'text';
  readonly form: (hasLogprobs: boolean) => GenerationForm;
  /** Of the address; left out: the body names it. */
  readonly model?: string;
}
const CHAT: Generating = { param: 'messages', reader: 'chat', form: chatForm };
const TEXT: Generating = { param: 'prompt', reader: 'text', form: textForm };

function generate(
  c: Context<HubEnv>,
  options: OpenAiOptions,
  { param, reader, form, model }: Generating,
): Promise<Response> {
  const asked = new Asked(c, options);
  return options.bodies.with(c.req.raw, maxBodyBytes('text-generation'), async (body) => {
    const { generation, inputs, hasLogprobs } = await options.reading.read(reader, body, model);
    const wanted = { generation, inputs, form: form(hasLogprobs) };
    const { ref } = modelFor(options, generation.model, 'text-generation');
    return blaming(param, async () => {
      if (!generation.isStreamed) return answerWhole(asked, wanted);
      const stream = await answerStream(asked, wanted, ref);
      asked.sayModel(ref);
      return c.body(stream, 200, { 'content-type': 'text/event-stream' });
    });
  });
}

function embed(c: Context<HubEnv>, options: OpenAiOptions): Promise<Response> {
  const asked = new Asked(c, options);
  return options.bodies.with(c.req.raw, MAX_EMBEDDING_BYTES, async (body) => {
    const wanted = await options.reading.read('embedding', body, undefined);
    modelFor(options, wanted.model, 'feature-extraction');
    const replies = await blaming('input', () => asked.ask(wanted.model, wanted.inputs));
    asked.say(replies);
    return asked.json(toEmbeddings(replies, wanted));
  });
}

function transcribe(c: Context<HubEnv>, options: OpenAiOptions): Promise<Response> {
  const asked = new Asked(c, options);
  return options.bodies.with(c.req.raw, maxFormBytes(MAX_AUDIO_BYTES), async (body) => {
    const wanted = await options.reading.read('transcription', body, c.req.header('content-type'));
    modelFor(options, wanted.model, 'automatic-speech-recognition');
    const replies = await blaming('file', () => asked.ask(wanted.model, [wanted.input]));
    asked.say(replies);
    const { contentType, body: written } = toTranscription(onlyOf(replies), wanted);
    return c.body(written, 200, { 'content-type': contentType });
  });
}
