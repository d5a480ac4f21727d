/** `/healthz` and `/readyz`: for whatever watches the process; they answer without a key. */
import { OpenAPIHono } from '@hono/zod-openapi';
import { z } from 'zod';
import { type Api, json, mount } from './frame/endpoint.ts';
import { OPEN } from './frame/guards.ts';

/** @param ready why the hub cannot answer now; undefined when it can */
export function createHealthApi(ready: () => string | undefined): Api {
  const app: Api = new OpenAPIHono();
  const tag = 'health';
  const guard = OPEN;
  mount(
    app,
    {
      ...{ method: 'get', path: '/healthz', tag, guard, summary: 'Says whether the hub lives' },
      responses: { 200: json('It lives', z.object({ status: z.literal('ok') })) },
    },
    (c) => c.json({ status: 'ok' }),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/readyz', tag, guard, summary: 'Says whether the hub can answer' },
      responses: {
        200: json('It can', z.object({ status: z.literal('ready') })),
        503: json('It cannot now', z.object({ status: z.literal('not ready'), reason: z.string() })),
      },
    },
    (c) => {
      const reason = ready();
      return reason === undefined
        ? c.json({ status: 'ready' })
        : c.json({ status: 'not ready', reason }, 503);
    },
  );
  return app;
}
