/**
 * One description of each address: from it come the route, who may ask, the check of its query, its place in /openapi.json, and
 * the answer to a wrong method. Bodies are read and checked by the handler with `BodyReader`, which bounds their size and time.
 */
import type { OpenAPIHono, RouteConfig } from '@hono/zod-openapi';
import type { Context, Handler, MiddlewareHandler } from 'hono';
import { z } from 'zod';
import { deviceId, digest, modelName } from '../../../shared/contract/names.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { HubEnv } from './face.ts';
import type { ErrorShape } from './failures.ts';
import type { Guard } from './guards.ts';
import { pagingQuery } from './paging.ts';

/** A part of the HTTP API. */
export type Api = OpenAPIHono<HubEnv>;

/** A body by its media type: the schema of a JSON one, or how bytes look. */
export type Content = Readonly<Record<string, z.ZodType>>;

/** A request header that is more than a text that may be left out. */
export interface RequestHeader {
  readonly what: string;
  readonly schema?: z.ZodType;
  readonly isRequired?: true;
}

/** A response with a body. */
interface Reply {
  readonly what: string;
  readonly content: Content;
  /** Response header -> what it says. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Header of bodies that may be large, as the document says it. */
export const CODING_HEADER = { 'Content-Encoding': 'gzip or deflate, where the body is compressed' } as const;

/** One address and method: who may ask, what goes in, what comes out, how it fails. */
export interface Operation {
  readonly method: 'get' | 'head' | 'post' | 'put' | 'patch' | 'delete';
  /** `{model}` takes `name` and `org/name`; `{path}` at the end takes the rest. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly guard: Guard;
  /** The answer is a list that comes in pages: takes `limit` and `after`. */
  readonly isPaged?: true;
  /** Its query, besides what pages take; read it by `queryOf`. */
  readonly query?: z.ZodObject;
  /** Request header -> what it says. */
  readonly headers?: Readonly<Record<string, string | RequestHeader>>;
  readonly body?: Content;
  /** Status -> what it means, and with which body. */
  readonly responses: Readonly<Record<number, string | Reply>>;
  /** The shape of its failures; `problem`, when left out. */
  readonly errors?: ErrorShape;
  /** Where it fails in another shape than its neighbours, at its own address and below. */
  readonly ownErrors?: ErrorShape;
}

/** A response with a JSON body. */
export const json = (what: string, schema: z.ZodType): { what: string; content: Content } => ({
  what,
  content: { 'application/json': schema },
});

/** A body of any kind, in OpenAPI 3.1 an empty schema: documents and texts that have no schema here. */
export const anyBytes = z.custom<Uint8Array>();

/** Bytes as they are; in this form generated clients take them from a file. */
export const binary = z.custom<Uint8Array>().meta({ type: 'string', format: 'binary' });

/** A route that brings its description along, wherever its part is put; openapi.ts writes it out. */
export interface DescribedRoute extends RouteConfig {
  readonly operation: Operation;
}

/** Operations that are mounted in a whole API, with their full paths. */
export function routesIn(app: Api): DescribedRoute[] {
  return app.openAPIRegistry.definitions.flatMap((one) =>
    one.type === 'route' && 'operation' in one.route ? [one.route as DescribedRoute] : [],
  );
}

/** A part of the API below an address of its own. What is unknown there fails in the shape of its operations. */
export interface Face {
  /** `/hf` */
  readonly base: string;
  readonly api: Api;
  readonly errors: ErrorShape;
  /** Operations that fail otherwise. */
  readonly own: readonly { readonly errors: ErrorShape; readonly pattern: RegExp }[];
}

/** @throws INVARIANT_BROKEN where its operations do not agree on one shape */
export function faceAt(base: string, api: Api): Face {
  const [errors = 'problem', ...others] = new Set(
    routesIn(api).map(({ operation }) => operation.errors ?? 'problem'),
  );
  if (others.length > 0) throw new AppError('INVARIANT_BROKEN', `${base} fails in more than one shape`);
  const own = routesIn(api).flatMap(({ operation: { path, ownErrors } }) =>
    ownErrors ? { errors: ownErrors, pattern: endingAs(base, path) } : [],
  );
  return { base, api, errors, own };
}

/** The shape of a failure at this path, whether there is an operation or not. */
export function errorsAt(path: string, faces: readonly Face[]): ErrorShape {
  const face = faces.find(({ base }) => path === base || path.startsWith(`${base}/`));
  if (!face) return 'problem';
  const own = face.own.find(({ pattern }) => pattern.test(path));
  return own?.errors ?? face.errors;
}

/** Puts an operation at its address, in all the ways that a model's name can be written. */
export function mount(app: Api, operation: Operation, handler?: Handler<HubEnv>): void {
  const { method, path, guard, isPaged } = operation;
  const route: DescribedRoute = { method, path, responses: {}, operation };
  app.openAPIRegistry.registerPath(route);
  // Hono answers HEAD by the handler of GET.
  if (!handler) return;
  const before = [...(guard.check ? [guard.check] : []), ...(isPaged ? [readPaging] : [])];
  for (const one of routesOf(path)) app.on(method.toUpperCase(), [one], ...before, handler);
}

function routesOf(path: string): string[] {
  const route = path.replace('{path}', ':path{.+}').replaceAll(/\{(\w+)\}/g, ':$1');
  return route.includes(':model') ? [route, route.replace(':model', ':org/:model')] : [route];
}

/** Matches what the path of a document matches. */
export function patternOf(path: string): RegExp {
  const source = path
    .replaceAll(/[.+?^$()|[\]\\]/g, '\\$&')
    .replaceAll('{model}', '[^/]+(?:/[^/]+)?')
    .replaceAll('{path}', '.+')
    .replaceAll(/\{\w+\}/g, '[^/]+');
  return new RegExp(`^${source}$`, 's');
}

/**
 * Paths that end as an operation's, or go on below it, whatever stands for a name: names with dots may have been taken for steps up, and
 * a name may have a line break in it.
 */
const endingAs = (base: string, path: string): RegExp =>
  new RegExp(`^${base}/(?:.*/)?${path.slice(path.lastIndexOf('/') + 1)}(?:/|$)`, 's');

const readPaging: MiddlewareHandler<HubEnv> = async (c, next) => {
  c.set('paging', parsed(pagingQuery, c.req.query()));
  await next();
};

/** @throws BAD_REQUEST, naming the first field that is wrong */
function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new AppError('BAD_REQUEST', `${issue?.path.join('.') || 'the body'}: ${issue?.message ?? ''}`);
}

/** The query of an operation, without what pages take. @throws BAD_REQUEST, naming the first field that is wrong or unknown */
export function queryOf<T>(c: Context<HubEnv>, schema: z.ZodType<T>): T {
  const { limit: _limit, after: _after, ...query } = c.req.query();
  return parsed(schema, query);
}

/** @throws MODEL_UNKNOWN: what is no name names no model */
export function modelOf(c: Context<HubEnv>): string {
  const org = c.req.param('org');
  const name = c.req.param('model') ?? '';
  const checked = modelName.safeParse(org === undefined ? name : `${org}/${name}`);
  if (!checked.success) throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
  return checked.data;
}

/** @throws DEVICE_UNKNOWN */
export function deviceOf(c: Context<HubEnv>): string {
  const checked = deviceId.safeParse(c.req.param('id'));
  if (!checked.success) throw new AppError('DEVICE_UNKNOWN', 'there is no device of this name');
  return checked.data;
}

/** @throws NOT_FOUND */
export function digestOf(c: Context<HubEnv>): string {
  const checked = digest.safeParse(c.req.param('digest'));
  if (!checked.success) throw new AppError('NOT_FOUND', 'a blob is named by its SHA-256: 64 hex digits');
  return checked.data;
}
