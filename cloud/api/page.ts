/**
 * The hub's front page, plain and without script. To strangers it says what this is and where things are; to who has signed in
 * also which devices there are, what waits on them, and what went over their links today.
 */
import { createHash } from 'node:crypto';
import { html, raw } from 'hono/html';
import type { DeviceRecord } from '../../shared/contract/admin.ts';
import { VERSION } from '../../shared/runtime/version.ts';

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:44rem;padding:0 1rem}' +
  'td,th{padding:.2rem 1rem .2rem 0;vertical-align:top;text-align:left}code{white-space:nowrap}';

/** The one style that the page may have (CSP 3, 2.3.1). */
export const PAGE_STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;

const PLACES: readonly (readonly [string, string])[] = [
  ['GET /healthz, GET /readyz', 'whether the hub lives and whether it can answer'],
  ['POST /hf/models/{model}', 'Hugging Face tasks: picture bytes, or {"inputs", "parameters"}; scope infer'],
  ['GET /api/v1/models', 'the models; scope infer'],
  ['GET, DELETE /api/v1/devices', 'the devices; scope admin'],
  ['POST /api/v1/enrollment-tokens', 'lets a device enrol; scope admin'],
  ['GET, POST, DELETE /api/v1/keys', 'the keys; scope admin'],
  ['POST /api/v1/sign-ins', 'a one-time address that signs a browser in to this page; scope admin'],
  ['GET /metrics', 'Prometheus; scope metrics'],
];

type Html = ReturnType<typeof html>;

/** @param devices undefined: to a stranger */
export const page = (devices?: readonly DeviceRecord[]): Html => html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Outrider hub</title><style>${raw(STYLE)}</style></head><body>
<h1>Outrider hub ${VERSION}</h1>
<p>The cloud side of Outrider: answers what devices at the edge pass on, and looks after the fleet.</p>
${devices === undefined ? '' : fleet(devices)}
<h2>Where things are</h2>
<table>${PLACES.map(([where, what]) => html`<tr><td><code>${where}</code></td><td>${what}</td></tr>`)}</table>
<p>Send your key as <code>Authorization: Bearer …</code>. The first one lies in <code>admin.key</code> in the hub's data
folder; the command <code>outrider</code> finds it there.</p>
</body></html>`;

const fleet = (devices: readonly DeviceRecord[]): Html => html`<h2>Devices</h2>
<table><tr><th>device</th><th>state</th><th>waiting</th><th>given up</th><th>pipelines</th></tr>
${devices.map(
  ({ id, online, contestedAtMs, telemetry, reported }) =>
    html`<tr><td>${id}</td><td>${online ? 'online' : 'offline'}${contestedAtMs === null ? '' : ', two programs use this id'}</td>
<td>${telemetry?.outbox.entries ?? '–'}</td><td>${telemetry?.outbox.deadLetters ?? '–'}</td>
<td>${reported?.pipelines.map(({ name }) => name).join(', ') ?? '–'}</td></tr>`,
)}</table>
<h2>Links today, as the devices count them</h2>
<table><tr><th>device</th><th>day</th><th>pipeline</th><th>purpose</th><th>bytes up</th><th>bytes down</th></tr>
${devices.flatMap(({ id, telemetry }) =>
  (telemetry?.link.use ?? []).map(
    ({ pipeline, purpose, upBytes, downBytes }) =>
      html`<tr><td>${id}</td><td>${telemetry?.link.day ?? ''}</td><td>${pipeline ?? '–'}</td><td>${purpose}</td><td>${upBytes}</td><td>${downBytes}</td></tr>`,
  ),
)}</table>`;
