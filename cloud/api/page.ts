/** The hub's front page: what this is and where things are. Plain, without script; it says nothing that needs a key. */
import { createHash } from 'node:crypto';
import { html, raw } from 'hono/html';
import { VERSION } from '../../shared/runtime/version.ts';

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:44rem;padding:0 1rem}' +
  'td{padding:.2rem 1rem .2rem 0;vertical-align:top}code{white-space:nowrap}';

/** The one style that the page may have (CSP 3, 2.3.1). */
export const PAGE_STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;

const PLACES: readonly (readonly [string, string])[] = [
  ['GET /healthz, GET /readyz', 'whether the hub lives and whether it can answer'],
  ['POST /hf/models/{model}', 'Hugging Face tasks: picture bytes, or {"inputs", "parameters"}; scope infer'],
  ['GET /api/v1/models', 'the models; scope infer'],
  ['GET, DELETE /api/v1/devices', 'the devices; scope admin'],
  ['POST /api/v1/enrollment-tokens', 'lets a device enrol; scope admin'],
  ['GET, POST, DELETE /api/v1/keys', 'the keys; scope admin'],
  ['GET /metrics', 'Prometheus; scope metrics'],
];

export const page = (): ReturnType<typeof html> => html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Outrider hub</title><style>${raw(STYLE)}</style></head><body>
<h1>Outrider hub ${VERSION}</h1>
<p>The cloud side of Outrider: answers what devices at the edge pass on, and looks after the fleet.</p>
<table>${PLACES.map(([where, what]) => html`<tr><td><code>${where}</code></td><td>${what}</td></tr>`)}</table>
<p>Send your key as <code>Authorization: Bearer …</code>. The first one lies in <code>admin.key</code> in the hub's data
folder; the command <code>outrider</code> finds it there.</p>
</body></html>`;
