/** Trainings: ordered, looked at, ended. */
import { trainingList, trainingRecord, trainingRequest } from '../../../shared/contract/trainings.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { TrainingAdmin } from '../../ports.ts';
import { type Api, json, mount } from '../frame/endpoint.ts';
import type { Guards } from '../frame/guards.ts';
import { IDEMPOTENCY_HEADER, type IdempotentAnswers } from '../frame/idempotency.ts';
import { sliceOf } from '../frame/paging.ts';

/** Trainings to order and to look at. */
export interface TrainingApiOptions {
  readonly guards: Guards;
  readonly trainings: TrainingAdmin;
  readonly bodies: BodyReader;
  readonly answers: IdempotentAnswers;
}

const tag = 'captures';

/** Puts `/trainings` there. */
export function mountTrainings(app: Api, { guards, trainings, bodies, answers }: TrainingApiOptions): void {
  mount(
    app,
    {
      ...{
        method: 'get',
        path: '/trainings',
        tag,
        summary: 'Lists the trainings, newest first',
        isPaged: true,
      },
      guard: guards.reader('admin'),
      responses: { 200: json('The trainings', trainingList) },
    },
    (c) => {
      // A cursor is the place from the newest, as that of rollouts.
      const all = trainings.list();
      const place = new Map(all.map(({ id }, index) => [id, String(index).padStart(6, '0')]));
      const { items, next } = sliceOf(all, ({ id }) => place.get(id) ?? '', c.get('paging'));
      return c.json({ trainings: items, next });
    },
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/trainings', tag },
      summary: 'Orders a better version of an edge model, trained on what was captured',
      guard: guards.key('admin'),
      headers: IDEMPOTENCY_HEADER,
      body: { 'application/json': trainingRequest },
      responses: { 201: json('The training; it waits for its turn', trainingRecord) },
    },
    async (c) => {
      const request = await bodies.json(c.req.raw, trainingRequest);
      const by = c.get('holder').id;
      return answers.once(c, request, async () => ({
        status: 201,
        body: await trainings.order(request, by),
      }));
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/trainings/{id}', tag },
      summary: 'Shows a training, with the last words of its program',
      guard: guards.key('admin'),
      responses: { 200: json('The training', trainingRecord) },
    },
    (c) => c.json(trainings.get(c.req.param('id') ?? '')),
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/trainings/{id}/cancel', tag },
      summary: 'Ends a training that is not done',
      guard: guards.key('admin'),
      responses: { 200: json('The training as it is now', trainingRecord) },
    },
    async (c) => c.json(await trainings.cancel(c.req.param('id') ?? '', c.get('holder').id)),
  );
}
