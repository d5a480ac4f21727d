/** `/healthz` and `/readyz`: for whatever watches the process; they answer without a key. */
import { Hono } from 'hono';

/** @param ready why the hub cannot answer now; undefined when it can */
export function createHealthApi(ready: () => string | undefined): Hono {
  const app = new Hono();
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', (c) => {
    const reason = ready();
    return reason === undefined ? c.json({ status: 'ready' }) : c.json({ status: 'not ready', reason }, 503);
  });
  return app;
}
