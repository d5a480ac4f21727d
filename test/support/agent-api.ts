/**
 * The device's own HTTP API as an OpenAPI 3.1 document and as a page. It is described here and not where it runs: a device would pay
 * for the description in memory and in its start. test/contract/agent-api.test.ts holds that no route is missing and none made up.
 */
import { z } from 'zod';
import type { LinkMeter, OutboxDepth, PipelineStatus } from '../../agent/ports.ts';
import { connection } from '../../shared/contract/connection.ts';
import { diskStatus } from '../../shared/contract/disk-status.ts';
import { feedStatus } from '../../shared/contract/feed-status.ts';
import { jsonBody } from '../../shared/contract/http-input.ts';
import { linkUse, updateReport } from '../../shared/contract/messages.ts';
import { deviceId, modelRef, pipelineName, requestId } from '../../shared/contract/names.ts';
import { outboxItem, outboxList, outboxRetried } from '../../shared/contract/outbox.ts';
import { answer, failure } from '../../shared/contract/result.ts';
import { routeEvidence } from '../../shared/contract/routing.ts';
import { sentList } from '../../shared/contract/sent.ts';
import { sinkStatus } from '../../shared/contract/sink-status.ts';
import { ERROR_CODES } from '../../shared/runtime/errors.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import { taskName } from '../../shared/tasks/tasks.ts';
import { SchemaPages } from './schema-pages.ts';
import { table } from './schema-tables.ts';

const accepted = z.object({
  id: requestId,
  pipeline: pipelineName.optional(),
  /** It is in the outbox, and will be answered. */
  status: z.literal('accepted'),
});
const problem = z.object({
  error: z.object({ code: z.enum(ERROR_CODES), message: z.string() }),
  requestId,
});
const health = z.object({ status: z.literal('ok') });
const readiness = z.object({
  /** Whether every part is up. */
  status: z.enum(['ready', 'not ready']),
  /** What is not. */
  reason: z.string().optional(),
});

const count = z.int().nonnegative();
const pipelineStatus = z.object({
  name: pipelineName,
  task: taskName,
  edge: modelRef.nullable(),
  cloud: z.string().nullable(),
  /** What its router has to show for its promise. */
  router: routeEvidence,
  owed: count,
  /** What its feed is doing; null: it is asked over HTTP alone. */
  feed: feedStatus.nullable(),
  /** What each of its sinks is doing. */
  sinks: z.array(sinkStatus),
}) satisfies z.ZodType<PipelineStatus>;
const depth = z.object({
  entries: count,
  bytes: count,
  oldestAtMs: z.number().nullable(),
  deadLetters: count,
}) satisfies z.ZodType<OutboxDepth>;
const today = z.object({
  day: z.string(),
  capBytes: z.number().optional(),
  use: z.array(linkUse),
}) satisfies z.ZodType<Omit<ReturnType<LinkMeter['today']>, 'capBytes'>>;
const deviceStatus = z.object({
  device: deviceId,
  link: z.object({
    online: z.boolean(),
    hub: z.string().nullable(),
    /** What keeps the device from its hub: a credential that is refused or broken; null: nothing, or nothing known. */
    problem: z.object({ code: z.enum(ERROR_CODES), message: z.string() }).nullable(),
    outbox: depth,
    today,
  }),
  pipelines: z.array(pipelineStatus),
  updates: z.array(updateReport),
  disk: diskStatus,
  connections: z.array(connection),
  version: z.string(),
});

/** Named in the document, in the order of the page. */
const SCHEMAS = {
  Result: answer,
  FailedInput: failure,
  Accepted: accepted,
  Input: jsonBody,
  ModelReference: modelRef,
  UpdateReport: updateReport,
  RouteEvidence: routeEvidence,
  DeviceStatus: deviceStatus,
  OutboxItem: outboxItem,
  OutboxList: outboxList,
  OutboxRetried: outboxRetried,
  SentList: sentList,
  Readiness: readiness,
  Problem: problem,
};
type SchemaName = keyof typeof SCHEMAS;

interface Parameter {
  readonly name: string;
  readonly schema: z.ZodType;
  readonly what: string;
}

interface Reply {
  readonly what: string;
  /** None: no body. */
  readonly content?: Content;
}

/** By content type; several: one of them. */
type Content = Readonly<Record<string, SchemaName | readonly SchemaName[] | z.ZodType>>;

export interface Operation {
  readonly method: 'get' | 'post' | 'delete';
  readonly path: string;
  readonly summary: string;
  readonly query?: readonly Parameter[];
  readonly body?: Content;
  readonly replies: Readonly<Record<string, Reply>>;
  /** Answers without a key off loopback, too. */
  readonly isOpen?: boolean;
}

const json = (...names: SchemaName[]): Content => ({ 'application/json': names });
const bytes = z.string();

export const AGENT_OPERATIONS: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/infer/{pipeline}',
    summary: 'Ask a pipeline about one input; the answer comes by its deadline at the latest',
    query: [
      {
        name: 'route',
        schema: z.enum(['edge', 'cloud']),
        what: 'Where to answer, whatever the router would say.',
      },
    ],
    body: { 'application/octet-stream': bytes, 'application/json': 'Input' },
    replies: {
      200: { what: 'The first Result; `provisional`: another one follows', content: json('Result') },
      202: {
        what: 'Accepted, and no local answer by the deadline; `location` says where it will be',
        content: json('Accepted'),
      },
    },
  },
  {
    method: 'get',
    path: '/v1/results',
    summary:
      'Results as they come, as server-sent events `result` and `failure`; those of the last time first',
    query: [{ name: 'since', schema: z.literal('now'), what: 'Leaves out what is kept.' }],
    replies: {
      200: {
        what: 'The stream; a reader that is too slow is cut off',
        content: { 'text/event-stream': ['Result', 'FailedInput'] },
      },
    },
  },
  {
    method: 'get',
    path: '/v1/results/{id}',
    summary: 'The newest Result of a request: of the last 1,000 and of all open ones',
    replies: {
      200: { what: 'The Result, or the failure', content: json('Result', 'FailedInput') },
      202: { what: 'Accepted, not answered yet', content: json('Accepted') },
    },
  },
  {
    method: 'get',
    path: '/v1/pipelines',
    summary: 'The device: its link, its pipelines with the evidence for their promises, its updates',
    replies: { 200: { what: 'As it is now', content: json('DeviceStatus') } },
  },
  {
    method: 'get',
    path: '/v1/sent',
    summary: 'What has left the device, oldest first: the last lines, or those behind one',
    query: [
      { name: 'since', schema: z.number(), what: 'Not older than this, in milliseconds since 1970.' },
      { name: 'after', schema: count, what: 'The lines behind this number: the first of them.' },
      { name: 'limit', schema: z.int().min(1).max(10_000).default(1_000), what: 'At most so many.' },
    ],
    replies: {
      200: { what: 'The lines', content: json('SentList') },
      400: { what: '`BAD_REQUEST`', content: json('Problem') },
    },
  },
  {
    method: 'post',
    path: '/v1/updates/over-metered',
    summary: 'Let updates that wait for an unmetered link come over this one, for an hour',
    replies: { 202: { what: 'Under way, where one waits' } },
  },
  {
    method: 'get',
    path: '/v1/outbox',
    summary: 'What waits for the cloud, and what was given up, in pages',
    query: [
      { name: 'state', schema: z.enum(['waiting', 'dead']), what: 'Only these.' },
      { name: 'limit', schema: z.int().min(1).max(1_000).default(100), what: 'At most so many.' },
      { name: 'after', schema: z.string(), what: '`next` of the page before.' },
    ],
    replies: { 200: { what: 'A page, oldest first', content: json('OutboxList') } },
  },
  {
    method: 'get',
    path: '/v1/outbox/{id}',
    summary: 'One request of the outbox',
    replies: { 200: { what: 'The request, without its input', content: json('OutboxItem') } },
  },
  {
    method: 'get',
    path: '/v1/outbox/{id}/input',
    summary: 'Its input',
    replies: {
      200: {
        what: 'The bytes; `x-input-type` says what they are',
        content: { 'application/octet-stream': bytes },
      },
    },
  },
  {
    method: 'post',
    path: '/v1/outbox/{id}/retry',
    summary: 'Send what waits at once, or accept what was given up again, under a new id',
    replies: { 202: { what: 'Under way', content: json('OutboxRetried') } },
  },
  {
    method: 'delete',
    path: '/v1/outbox/{id}',
    summary: 'Give a request up, or throw a dead letter away',
    replies: { 204: { what: 'Gone' } },
  },
  {
    method: 'get',
    path: '/healthz',
    summary: 'Whether the program runs',
    replies: { 200: { what: 'It does', content: { 'application/json': health } } },
    isOpen: true,
  },
  {
    method: 'get',
    path: '/readyz',
    summary: 'Whether every part is up',
    replies: {
      200: { what: 'Ready', content: json('Readiness') },
      503: { what: 'Not ready, and why', content: json('Readiness') },
    },
    isOpen: true,
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Counters and gauges, for Prometheus',
    replies: { 200: { what: 'As text', content: { 'text/plain': bytes } } },
  },
];

/** The API's page and its OpenAPI document. */
export function agentApi(generated: string): Record<string, string> {
  return {
    'docs/agent-openapi.json': `${JSON.stringify(document(), null, 2)}\n`,
    'docs/agent-api.md': page(generated),
  };
}

function document() {
  const names = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(SCHEMAS)) names.add(schema, { id });
  const { schemas } = z.toJSONSchema(names, { ...SCHEMA, uri: (id) => `#/components/schemas/${id}` });
  return {
    openapi: '3.1.0',
    info: {
      title: 'Outrider agent',
      version: VERSION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description:
        'The device’s own API. On loopback it needs no key, and foreign `Host` and `Origin` headers are refused; off loopback it needs one. ' +
        'Readers should ignore fields that they don’t know.',
    },
    servers: [{ url: 'http://127.0.0.1:8090' }],
    security: [{}, { key: [] }],
    paths: Object.fromEntries(
      [...new Set(AGENT_OPERATIONS.map(({ path }) => path))].map((path) => [
        path,
        Object.fromEntries(
          AGENT_OPERATIONS.filter((one) => one.path === path).map((one) => [one.method, describe(one)]),
        ),
      ]),
    ),
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, bare(schema)])),
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'OUTRIDER_AGENT_KEY, off loopback.' },
      },
    },
  };
}

const SCHEMA = { io: 'output', unrepresentable: 'any', target: 'draft-2020-12' } as const;

/** In OpenAPI 3.1 the dialect is said once, and the address of a component is where it stands. */
function bare(schema: object): object {
  const { $schema: _dialect, $id: _address, ...rest } = schema as Record<string, unknown>;
  return rest;
}

function describe({ method, path, summary, query = [], body, replies, isOpen }: Operation) {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: bare(z.toJSONSchema(name === 'pipeline' ? pipelineName : z.string(), SCHEMA)),
  }));
  const inQuery = query.map(({ name, schema, what }) => ({
    name,
    in: 'query',
    description: what,
    schema: bare(z.toJSONSchema(schema, SCHEMA)),
  }));
  return {
    operationId: `${method}${path.replace(/[{}]/g, '').replace(/\/(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary,
    ...(isOpen === true && { security: [{}] }),
    parameters: [...inPath, ...inQuery],
    ...(body && { requestBody: { required: true, content: contentOf(body) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(replies).map(([status, { what, content }]) => [
          status,
          { description: what, ...(content && { content: contentOf(content) }) },
        ]),
      ),
      default: {
        description: 'A failure, with a code of docs/errors.md',
        content: contentOf(json('Problem')),
      },
    },
  };
}

const contentOf = (content: Content) =>
  Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema: schemaOf(schema) }]));

function schemaOf(schema: Content[string]): object {
  if (typeof schema === 'string') return { $ref: `#/components/schemas/${schema}` };
  if (schema instanceof z.ZodType) return bare(z.toJSONSchema(schema, SCHEMA));
  const [only, ...others] = schema;
  return only !== undefined && others.length === 0 ? schemaOf(only) : { oneOf: schema.map(schemaOf) };
}

function page(generated: string): string {
  const pages = new SchemaPages();
  return [
    '# The agent’s HTTP API',
    '',
    generated,
    '',
    'The device’s own API, on `http://127.0.0.1:8090` unless `--agent-host` and `--agent-port` say otherwise. On loopback it needs no key, and requests',
    'from pages of other sites are refused; off loopback every request but `/healthz` and `/readyz` needs `OUTRIDER_AGENT_KEY` as Bearer. The same for',
    'programs: [agent-openapi.json](agent-openapi.json). How to use it: [build-on.md](build-on.md).',
    '',
    ...table(
      ['request', 'what it does', 'answers'],
      AGENT_OPERATIONS.map(({ method, path, summary, query = [], replies }) => [
        `\`${method.toUpperCase()} ${path}\`${query.map(({ name, what }) => `<br>\`?${name}=\` ${what}`).join('')}`,
        summary,
        Object.entries(replies)
          .map(([status, { what }]) => `${status}: ${what}`)
          .join('<br>'),
      ]),
    ),
    'A failure is a `Problem`, or a `FailedInput` where the input itself failed; its status is that of its code in [errors.md](errors.md), with `retry-after` where',
    'asking again may help. Bodies of `infer` are the input itself (its first bytes decide what it is), or JSON as Hugging Face’s clients send it.',
    '',
    ...Object.entries(SCHEMAS).flatMap(([name, schema]) => pages.section(name, schema)),
  ].join('\n');
}
