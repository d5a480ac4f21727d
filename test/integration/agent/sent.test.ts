/** What has left a device, by the command that people type: over a real hub and a webhook. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type SentRecord, sentList } from '../../../shared/contract/sent.ts';
import { startAgent } from '../../support/agent-program.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { eventually, outrider } from '../../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../fixtures/models', import.meta.url));

test('a webhook’s Results are told with host and reason, without the path that may be a secret', async (t) => {
  const folder = await temporaryFolder(t);
  const hook = createServer((request, response) => request.resume().on('end', () => response.end()));
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  t.after(() => hook.close());
  const hookPort = (hook.address() as AddressInfo).port;
  await writeFile(join(folder, 'lines.txt'), 'good\nbad\n');
  await writeFile(
    join(folder, 'outrider.yaml'),
    `device: gate-01
pipelines:
  - name: text
    task: text-classification
    edge: words
    feed: { type: text-lines, path: lines.txt }
    sinks: [{ type: webhook, url: "http://127.0.0.1:${hookPort}/hooks/SECRETPATH?token=SECRETTOKEN", allowPrivate: true }]
`,
  );
  const { url } = await startAgent(t, folder, MODELS);
  const sent = async (): Promise<SentRecord[]> =>
    sentList.parse(await (await fetch(`${url}/v1/sent`)).json()).items;
  await eventually(async () => (await sent()).length === 2, 'nothing was sent');
  const [first] = await sent();
  assert.deepEqual(
    [first?.what, first?.pipeline, first?.to, first?.topic, first?.why],
    ['result', 'text', `127.0.0.1:${hookPort}`, null, 'sink'],
  );
  assert.ok((first?.bytes ?? 0) > 50);

  const asked = outrider(t, ['outbox', 'sent', '--agent', url, '--since', '1h']);
  await asked.exited;
  assert.match(asked.output(), /result .*text .*127\.0\.0\.1:\d+ .*sink/);
  assert.doesNotMatch(asked.output(), /SECRET/);
  const follow = outrider(t, ['outbox', 'sent', '--agent', url, '--json', '--follow']);
  await follow.says(`"id":"${first?.id}"`);
  const answer = await fetch(`${url}/v1/infer/text`, { method: 'POST', body: 'a fine film' });
  const { id } = (await answer.json()) as { id: string };
  await follow.says(`"id":"${id}"`);
  const wrong = outrider(t, ['outbox', 'sent', '--agent', url, '--since', 'yesterday']);
  assert.notEqual((await wrong.exited).code, 0);
  assert.match(wrong.output(), /--since must be a span/);
  assert.equal((await fetch(`${url}/v1/sent?limit=0`)).status, 400);
});
