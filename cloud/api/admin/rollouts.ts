/** The rollouts: begun, looked at, changed, stopped and taken back, each of the state that its author has read. */
import type { Context } from 'hono';
import {
  type RolloutAction,
  rolloutAction,
  rolloutChange,
  rolloutDeviceList,
  rolloutList,
  rolloutRecord,
  rolloutRequest,
} from '../../../shared/contract/rollouts.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { RolloutAdmin } from '../../ports.ts';
import { type Api, json, mount } from '../frame/endpoint.ts';
import { ETAG_HEADER, etagOf, ifMatch, ifMatchHeader } from '../frame/etag.ts';
import type { HubEnv } from '../frame/face.ts';
import type { Guards } from '../frame/guards.ts';
import { IDEMPOTENCY_HEADER, type IdempotentAnswers } from '../frame/idempotency.ts';
import { sliceOf } from '../frame/paging.ts';

/** Rollouts to order and to look at. */
export interface RolloutApiOptions {
  readonly guards: Guards;
  readonly rollouts: RolloutAdmin;
  readonly bodies: BodyReader;
  readonly answers: IdempotentAnswers;
}

const tag = 'rollouts';

/** Puts `/rollouts` there. */
export function mountRollouts(app: Api, options: RolloutApiOptions): void {
  mountReading(app, options);
  mountOrders(app, options);
}

const idOf = (c: Context<HubEnv>): string => c.req.param('id') ?? '';

/** Of what an operator decides by, not of what changes while devices answer. */
const show = (c: Context<HubEnv>, rollouts: RolloutAdmin): Response => {
  const record = rollouts.get(idOf(c));
  c.header('etag', etagOf(rollouts.standingOf(record.id)));
  return c.json(record);
};

function mountReading(app: Api, { guards, rollouts }: RolloutApiOptions): void {
  mount(
    app,
    {
      ...{
        method: 'get',
        path: '/rollouts',
        tag,
        summary: 'Lists the rollouts, newest first',
        isPaged: true,
      },
      guard: guards.reader('admin'),
      responses: { 200: json('The rollouts', rolloutList) },
    },
    (c) => {
      // Ids are made by time: what sorts first is the oldest, and the cursor is the place from the newest.
      const all = rollouts.list();
      const place = new Map(all.map(({ id }, index) => [id, String(index).padStart(6, '0')]));
      const { items, next } = sliceOf(all, ({ id }) => place.get(id) ?? '', c.get('paging'));
      return c.json({ rollouts: items, next });
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/rollouts/{id}', tag, summary: 'Shows a rollout, with its ETag' },
      guard: guards.reader('admin'),
      responses: { 200: { ...json('The rollout', rolloutRecord), headers: ETAG_HEADER } },
    },
    (c) => show(c, rollouts),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/rollouts/{id}/devices', tag, isPaged: true },
      summary: 'Lists the devices that have come into a rollout, and how far each is',
      guard: guards.reader('admin'),
      responses: { 200: json('The devices, by id', rolloutDeviceList) },
    },
    (c) => {
      const { items, next } = sliceOf(rollouts.devicesOf(idOf(c)), ({ id }) => id, c.get('paging'));
      return c.json({ devices: items, next });
    },
  );
}

function mountOrders(app: Api, { guards, rollouts, bodies, answers }: RolloutApiOptions): void {
  mount(
    app,
    {
      ...{ method: 'post', path: '/rollouts', tag },
      summary: 'Begins a rollout of a published version',
      guard: guards.key('admin'),
      headers: IDEMPOTENCY_HEADER,
      body: { 'application/json': rolloutRequest },
      responses: { 201: json('The rollout; its first devices have been told', rolloutRecord) },
    },
    async (c) => {
      const request = await bodies.json(c.req.raw, rolloutRequest);
      const by = c.get('holder').id;
      return answers.once(c, request, async () => ({ status: 201, body: await rollouts.start(request, by) }));
    },
  );
  mount(
    app,
    {
      ...{ method: 'patch', path: '/rollouts/{id}', tag },
      summary: 'Changes the plan of a rollout that is under way',
      guard: guards.key('admin'),
      headers: ifMatchHeader('the rollout as it was read'),
      body: { 'application/json': rolloutChange },
      responses: { 200: { ...json('The rollout as it is now', rolloutRecord), headers: ETAG_HEADER } },
    },
    async (c) => {
      const isRead = ifMatch(c);
      const change = await bodies.json(c.req.raw, rolloutChange);
      await rollouts.change(idOf(c), change, (now) => isRead(etagOf(now)), c.get('holder').id);
      return show(c, rollouts);
    },
  );
  for (const action of rolloutAction.options)
    mount(
      app,
      {
        ...{ method: 'post', path: `/rollouts/{id}/${action}`, tag, summary: ORDERS[action] },
        guard: guards.key('admin'),
        headers: ifMatchHeader('the rollout as it was read'),
        responses: { 200: { ...json('The rollout as it is now', rolloutRecord), headers: ETAG_HEADER } },
      },
      async (c) => {
        const isRead = ifMatch(c);
        await rollouts.act(idOf(c), action, (now) => isRead(etagOf(now)), c.get('holder').id);
        return show(c, rollouts);
      },
    );
}

const ORDERS: Readonly<Record<RolloutAction, string>> = {
  pause: 'Lets nobody new into a rollout',
  resume: 'Goes on with a rollout, under its gates as they are now',
  abort: 'Ends a rollout: devices keep what they have',
  'roll-back': 'Ends a rollout, also one that is done: every device goes back to what was deployed before',
};
