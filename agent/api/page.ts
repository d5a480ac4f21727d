/**
 * The device's own page: a page without data that asks the API beside it. Where a key is needed a browser cannot show it, so that
 * the page says so instead.
 */
import { Hono } from 'hono';
import { readAssets, readPageFile } from '../../shared/page/assets.ts';
import { VERSION } from '../../shared/runtime/version.ts';

/** Page for a browser without the key; it needs no file beside it. */
export const CLOSED_PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Outrider agent</title></head><body>
<h1>Outrider agent</h1>
<p>This agent listens beyond its own machine, so that it answers only with its key, and a browser cannot send that.</p>
<p>Look at the device on its hub's page, or ask with the key:
<code>curl -H "Authorization: Bearer …" …/v1/pipelines</code>.</p>
</body></html>`;

/** `/` and `/assets/…`. @throws FILE_UNREADABLE */
export function createPageApi(): Hono {
  const page = readPageFile('agent/api/page/page.html').replaceAll('{{version}}', VERSION);
  const assets = readAssets(['agent/api/page/page.js']);
  const app = new Hono();
  app.get('/', (c) => c.html(page));
  app.get('/assets/*', (c) => {
    const asset = assets.get(c.req.path);
    return asset ? c.body(asset.body, 200, { 'content-type': asset.contentType }) : c.notFound();
  });
  return app;
}
