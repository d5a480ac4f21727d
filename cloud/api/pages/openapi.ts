/**
 * The HTTP API as an OpenAPI 3.1 document, made from the descriptions that its routes are made from. Schemas are written by zod
 * itself: OpenAPI 3.1 takes JSON Schema 2020-12 as it is (docs/decisions/0012).
 */
import { OpenAPIHono, type RouteConfig } from '@hono/zod-openapi';
import { z } from 'zod';
import {
  boardEntry,
  createdKey,
  deviceRecord,
  EVENTS,
  hubEvent,
  modelRecord,
  publishedVersion,
} from '../../../shared/contract/admin.ts';
import { captureRecord } from '../../../shared/contract/captures.ts';
import { rolloutPlan, rolloutRecord } from '../../../shared/contract/rollouts.ts';
import { trainingRecord } from '../../../shared/contract/trainings.ts';
import { VERSION } from '../../../shared/runtime/version.ts';
import {
  type Api,
  type Content,
  type DescribedRoute,
  type Operation,
  type RequestHeader,
  routesIn,
} from '../frame/endpoint.ts';
import { COOKIE } from '../frame/face.ts';
import { ERROR_SHAPES } from '../frame/failures.ts';
import { pagingQuery } from '../frame/paging.ts';

type Json = Record<string, unknown>;
type ZodContent = NonNullable<NonNullable<NonNullable<RouteConfig['request']>['body']>['content']>;
/** An OpenAPI 3.1 document. */
export type OpenApiDocument = ReturnType<OpenAPIHono['getOpenAPI31Document']>;
type ComponentsObject = NonNullable<OpenApiDocument['components']>;

/** By its SPDX name as well, which the library's types, of OpenAPI 3.0, do not know; validators of 3.1 ask for it. */
const LICENSE = { name: 'Apache-2.0', identifier: 'Apache-2.0' };

/** Named in the document: these stand in several places, or are looked for by name. */
const NAMED = {
  Model: modelRecord,
  PublishedVersion: publishedVersion,
  Device: deviceRecord,
  Key: createdKey,
  BoardEntry: boardEntry,
  Capture: captureRecord,
  Training: trainingRecord,
  Rollout: rolloutRecord,
  RolloutPlan: rolloutPlan,
  HubEvent: hubEvent,
  ...EVENTS,
  Problem: ERROR_SHAPES.problem.schema,
  HuggingFaceError: ERROR_SHAPES['hugging-face'].schema,
  OpenAIError: ERROR_SHAPES.openai.schema,
  TextEmbeddingsError: ERROR_SHAPES['text-embeddings'].schema,
  OpenInferenceError: ERROR_SHAPES['open-inference'].schema,
};

/** The document of all that is mounted in the API. */
export function describeApi(app: Api): OpenApiDocument {
  const names = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(NAMED)) names.add(schema, { id });
  const { schemas } = z.toJSONSchema(names, { ...SCHEMA, uri: (id) => `#/components/schemas/${id}` });
  const described = new OpenAPIHono();
  for (const route of routesIn(app)) described.openAPIRegistry.registerPath(detailsOf(route));
  const document = described.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Outrider hub',
      version: VERSION,
      license: LICENSE,
      description:
        'Failures of `/api/v1` are RFC 9457 problem details with a code of docs/errors.md. A model’s name may be `org/name`: its slash ' +
        'is taken as it is or as `%2F`. Readers should ignore fields that they don’t know.',
    },
    servers: [{ url: '/' }],
  });
  return {
    ...document,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, bare(schema)])),
      securitySchemes: SECURITY_SCHEMES,
    },
  };
}

const SECURITY_SCHEMES: NonNullable<ComponentsObject['securitySchemes']> = {
  key: {
    type: 'http',
    scheme: 'bearer',
    description:
      'A key of the hub; an operation names the scopes of which the key needs one. `admin` may everything.',
  },
  device: { type: 'http', scheme: 'bearer', description: 'A device’s own credential.' },
  session: { type: 'apiKey', in: 'cookie', name: COOKIE, description: 'Who has signed in on the page.' },
};

const SCHEMA = { io: 'input', unrepresentable: 'any', target: 'draft-2020-12' } as const;

function detailsOf({ method, path, operation }: DescribedRoute): RouteConfig {
  const { tag, summary, guard, errors = 'problem', ownErrors = errors, responses } = operation;
  const { contentType, schema } = ERROR_SHAPES[ownErrors];
  return {
    method,
    path,
    operationId: operationId(method, path),
    tags: [tag],
    summary,
    security: guard.security,
    request: requestOf(operation, path),
    responses: {
      ...Object.fromEntries(
        Object.entries(responses).map(([status, one]) => [
          status,
          typeof one === 'string'
            ? { description: one }
            : {
                description: one.what,
                content: contentOf(one.content),
                ...(one.headers && { headers: headersOf(one.headers) }),
              },
        ]),
      ),
      default: {
        description: 'A failure',
        content: contentOf({ [contentType]: schema }),
        headers: headersOf(FAILURE_HEADERS),
      },
    },
  };
}

/** Headers that failures may have beside their bodies. */
const FAILURE_HEADERS = {
  Allow: 'With 405: the methods of the address; HEAD goes where GET does',
  'Accept-Encoding': 'With 415 for a content coding: those that are decoded',
  'Retry-After-Ms': 'The same in milliseconds, below `/v1`',
  'Retry-After': 'Where asking again may help: after so many seconds',
  'WWW-Authenticate': 'With 401',
};

const headersOf = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [
      name,
      { description, schema: { type: 'string' as const } },
    ]),
  );

function requestOf(operation: Operation, path: string): NonNullable<RouteConfig['request']> {
  const { isPaged, query, headers = {}, body } = operation;
  const asked = isPaged && query ? pagingQuery.extend(query.shape) : isPaged ? pagingQuery : query;
  const params = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [name, z.string()] as const);
  return {
    ...(params.length > 0 && { params: z.object(Object.fromEntries(params)) }),
    ...(asked && { query: asked }),
    ...(Object.keys(headers).length > 0 && {
      headers: z.object(
        Object.fromEntries(
          Object.entries(headers).map(([name, header]) => {
            const { what, schema, isRequired }: RequestHeader =
              typeof header === 'string' ? { what: header } : header;
            const described = (schema ?? z.string()).meta({ description: what });
            return [name, isRequired ? described : described.optional()];
          }),
        ),
      ),
    }),
    ...(body && { body: { required: true, content: contentOf(body) } }),
  };
}

function contentOf(content: Content): ZodContent {
  return Object.fromEntries(
    Object.entries(content).map(([type, schema]) => [type, { schema: schemaOf(schema) }]),
  );
}

/** A reference where the schema has a name; else written out, with references in it. */
function schemaOf(schema: z.ZodType): Json {
  const name = Object.entries(NAMED).find(([, one]) => one === schema)?.[0];
  if (name !== undefined) return { $ref: `#/components/schemas/${name}` };
  return bare(
    z.toJSONSchema(schema, {
      ...SCHEMA,
      override({ zodSchema, jsonSchema }) {
        const inner = Object.entries(NAMED).find(([, one]) => one === zodSchema)?.[0];
        if (inner === undefined) return;
        for (const key of Object.keys(jsonSchema)) delete jsonSchema[key];
        jsonSchema.$ref = `#/components/schemas/${inner}`;
      },
    }),
  );
}

/** Without what only a schema that stands alone needs, and what generators of clients do not take. */
function bare(schema: Json): Json {
  return plainer(
    Object.fromEntries(Object.entries(schema).filter(([key]) => key !== '$schema' && key !== '$id')),
  ) as Json;
}

/** Tuples as lists of their length, which every generator and checker reads; and without defaults that are objects, which no generator can write down. */
function plainer(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainer);
  if (typeof value !== 'object' || value === null) return value;
  const { prefixItems, ...rest } = value as Json;
  const kept = Object.fromEntries(
    Object.entries(rest)
      .filter(([key, one]) => key !== 'items' || one !== false)
      .filter(([key, one]) => key !== 'default' || typeof one !== 'object' || one === null)
      .map(([key, one]) => [key, plainer(one)]),
  );
  if (!Array.isArray(prefixItems)) return kept;
  const items = anyOf(prefixItems.map((one) => plainer(one) as Json));
  return { ...kept, items, minItems: prefixItems.length, maxItems: prefixItems.length };
}

/** What each of these is: numbers of one kind in the bounds of all of them. */
function anyOf(schemas: readonly Json[]): Json {
  const [first = {}] = schemas;
  const isNumber = first.type === 'integer' || first.type === 'number';
  if (!isNumber || schemas.some(({ type }) => type !== first.type)) return { anyOf: schemas };
  const bound = (key: string, choose: (...all: number[]) => number): Json => {
    const bounds = schemas.flatMap((one) => (typeof one[key] === 'number' ? [one[key]] : []));
    return bounds.length === schemas.length ? { [key]: choose(...bounds) } : {};
  };
  return { type: first.type, ...bound('minimum', Math.min), ...bound('maximum', Math.max) };
}

/** `get /api/v1/models/{model}/versions` -> `getApiV1ModelsModelVersions`. */
function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return method + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}
