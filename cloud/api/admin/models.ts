/** The models and their versions: looked at, published, and deployed to devices. */
import type { Context } from 'hono';
import {
  type ModelLoad,
  modelChange,
  modelList,
  modelRecord,
  modelVersions,
  publishedVersion,
  removedVersions,
  versionRequest,
} from '../../../shared/contract/admin.ts';
import { engineRequest } from '../../../shared/contract/engines.ts';
import { modelVersion } from '../../../shared/contract/names.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { EngineBook, EngineMonitor, ModelShelf, Publisher, Remover, RolloutAdmin } from '../../ports.ts';
import { type Api, json, modelOf, mount } from '../frame/endpoint.ts';
import { ETAG_HEADER, etagOf, ifMatch, ifMatchHeader } from '../frame/etag.ts';
import type { HubEnv } from '../frame/face.ts';
import type { Guards } from '../frame/guards.ts';
import { IDEMPOTENCY_HEADER, type IdempotentAnswers } from '../frame/idempotency.ts';
import { sliceOf } from '../frame/paging.ts';

/** Models to list, and the publisher of their new versions. */
export interface ModelApiOptions {
  readonly guards: Guards;
  readonly models: ModelShelf;
  readonly publisher: Publisher;
  readonly engines: EngineBook & EngineMonitor;
  readonly remover: Remover;
  readonly rollouts: Pick<RolloutAdmin, 'requirePlan'>;
  /** Whether a runner holds the model now, what runs it, and its memory. */
  readonly loadOf: (model: string) => ModelLoad;
  readonly bodies: BodyReader;
  readonly answers: IdempotentAnswers;
}

const TAG = 'models';

/** Puts `/models` and their versions there. */
export function mountModels(app: Api, options: ModelApiOptions): void {
  const { guards, models, publisher, bodies, answers } = options;
  const find = (c: Context<HubEnv>) => {
    const name = modelOf(c);
    const found = models.list().find((one) => one.name === name);
    if (!found) throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
    return found;
  };
  const show = (c: Context<HubEnv>): Response => {
    const found = find(c);
    // Whether it is loaded changes by itself, and is nothing that anybody changes.
    c.header('etag', etagOf(found));
    return c.json(shown(found));
  };
  /** With what changes by itself. */
  const shown = (one: ReturnType<ModelShelf['list']>[number]) => {
    const status = options.engines.statusOf(one.name);
    return {
      ...{ ...one, ...options.loadOf(one.name) },
      engine: one.engine && { ...one.engine, ...(status && { status }) },
    };
  };

  mount(
    app,
    {
      ...{ method: 'get', path: '/models', tag: TAG, summary: 'Lists the models', isPaged: true },
      guard: guards.reader('infer'),
      responses: { 200: json('The models, by name', modelList) },
    },
    (c) => {
      const { items, next } = sliceOf(models.list(), ({ name }) => name, c.get('paging'));
      return c.json({
        models: items.map(shown),
        next,
      });
    },
  );

  // Before `/models/{model}`, which would take `…/versions` for the name of an organisation's model.
  mount(
    app,
    {
      ...{ method: 'get', path: '/models/{model}/versions', tag: TAG, isPaged: true },
      summary: 'Lists a model’s versions, newest first',
      guard: guards.reader('infer'),
      responses: { 200: json('The versions', modelVersions) },
    },
    (c) => {
      // The cursor is the place from the newest, in which numbers sort as texts do.
      const { versions } = find(c);
      const nameOf = ({ version }: { version: string }): string => String(1e9 - Number(version));
      const { items, next } = sliceOf(versions, nameOf, c.get('paging'));
      return c.json({ versions: items, next });
    },
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/models/{model}/versions', tag: TAG },
      summary: 'Publishes a version whose files have been uploaded as blobs',
      guard: guards.key('admin'),
      headers: IDEMPOTENCY_HEADER,
      body: { 'application/json': versionRequest },
      responses: {
        200: json('The same files are a version already', publishedVersion),
        201: json('A new version; `published` says whether the signed metadata lists it', publishedVersion),
      },
    },
    async (c) => {
      const name = modelOf(c);
      const request = await bodies.json(c.req.raw, versionRequest);
      return answers.once(c, request, async () => {
        const version = await publisher.publish(name, request);
        return { status: version.created ? 201 : 200, body: version };
      });
    },
  );

  const removed = {
    200: json('What was removed; `delisted` says whether nothing lists it', removedVersions),
  };
  mount(
    app,
    {
      ...{
        method: 'delete',
        path: '/models/{model}/versions/{version}',
        tag: TAG,
        guard: guards.key('admin'),
      },
      summary: 'Removes a version that nobody needs; asked again it goes on with what was held up',
      responses: removed,
    },
    async (c) => {
      const version = modelVersion.safeParse(c.req.param('version'));
      if (!version.success) throw new AppError('NOT_FOUND', 'there is no such version');
      return c.json(await options.remover.remove(modelOf(c), version.data));
    },
  );
  mount(
    app,
    {
      ...{ method: 'put', path: '/models/{model}/engine', tag: TAG },
      summary: 'Has a model run on another server; one that has no folder here is made by it',
      guard: guards.key('admin'),
      body: { 'application/json': engineRequest },
      responses: {
        200: json('The model as it is now', modelRecord),
        201: json('The same; it had none', modelRecord),
      },
    },
    async (c) => {
      const isNew = await options.engines.put(modelOf(c), await bodies.json(c.req.raw, engineRequest));
      return c.json(shown(find(c)), isNew ? 201 : 200);
    },
  );
  mount(
    app,
    {
      ...{ method: 'delete', path: '/models/{model}/engine', tag: TAG },
      summary:
        'Takes the server away: the model runs in the hub again, or is gone where it has no folder here',
      guard: guards.key('admin'),
      responses: { 204: 'It is away' },
    },
    async (c) => {
      await options.engines.remove(modelOf(c));
      return c.body(null, 204);
    },
  );
  mount(
    app,
    {
      ...{ method: 'delete', path: '/models/{model}', tag: TAG, guard: guards.key('admin') },
      summary: 'Removes a model that no device uses, with all its versions',
      responses: removed,
    },
    async (c) => c.json(await options.remover.remove(modelOf(c))),
  );

  mount(
    app,
    {
      ...{ method: 'get', path: '/models/{model}', tag: TAG, summary: 'Shows a model, with its ETag' },
      guard: guards.reader('infer'),
      responses: { 200: { ...json('The model', modelRecord), headers: ETAG_HEADER } },
    },
    show,
  );
  mount(
    app,
    {
      ...{ method: 'patch', path: '/models/{model}', tag: TAG },
      summary: 'Changes a model’s policy or the version that devices run',
      guard: guards.key('admin'),
      headers: ifMatchHeader('the model as it was read'),
      body: { 'application/json': modelChange },
      responses: { 200: { ...json('The model as it is now', modelRecord), headers: ETAG_HEADER } },
    },
    async (c) => {
      const name = modelOf(c);
      const isRead = ifMatch(c);
      const change = await bodies.json(c.req.raw, modelChange);
      if (change.plan) options.rollouts.requirePlan(change.plan);
      await models.change(name, change, (now) => isRead(etagOf(now)), c.get('holder').id);
      return show(c);
    },
  );
}
