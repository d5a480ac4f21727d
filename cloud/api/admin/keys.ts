/** The keys of the HTTP API. */
import { createdKey, keyList, keyRequest } from '../../../shared/contract/admin.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { KeyBook } from '../../ports.ts';
import { type Api, json, mount } from '../frame/endpoint.ts';
import type { Guards } from '../frame/guards.ts';
import { IDEMPOTENCY_HEADER, type IdempotentAnswers } from '../frame/idempotency.ts';
import { sliceOf } from '../frame/paging.ts';

/** Book of keys that these addresses list and change. */
export interface KeyApiOptions {
  readonly guards: Guards;
  readonly keys: KeyBook;
  readonly bodies: BodyReader;
  readonly answers: IdempotentAnswers;
}

/** Puts `/keys` there. */
export function mountKeys(app: Api, { guards, keys, bodies, answers }: KeyApiOptions): void {
  const tag = 'keys';
  const guard = guards.key('admin');
  mount(
    app,
    {
      ...{ method: 'get', path: '/keys', tag, summary: 'Lists the keys, without their secrets', guard },
      isPaged: true,
      responses: { 200: json('The keys, by id', keyList) },
    },
    (c) => {
      const { items, next } = sliceOf(keys.list(), ({ id }) => id, c.get('paging'));
      return c.json({ keys: items, next });
    },
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/keys', tag, summary: 'Makes a key', guard },
      headers: IDEMPOTENCY_HEADER,
      body: { 'application/json': keyRequest },
      responses: { 201: json('The key, shown this once', createdKey) },
    },
    async (c) => {
      const request = await bodies.json(c.req.raw, keyRequest);
      return answers.once(c, request, async () => ({ status: 201, body: await keys.create(request) }));
    },
  );
  mount(
    app,
    {
      ...{ method: 'delete', path: '/keys/{id}', tag, summary: 'Revokes a key', guard },
      responses: { 204: 'Revoked' },
    },
    async (c) => {
      await keys.revoke(c.req.param('id') ?? '');
      return c.body(null, 204);
    },
  );
}
