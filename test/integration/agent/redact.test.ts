/** What leaves a device of a text that names people: over a real agent, by what lies in its outbox and what its sinks get. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider } from '../../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../fixtures/models', import.meta.url));
const TEXT = 'write to anna@example.com, customer K-123456, or call +49 30 901820';
const REDACTED = 'write to [email], customer [customer], or call [phone]';

async function startAgent(t: TestContext, folder: string, redact: string) {
  const port = await freePort();
  await writeFile(join(folder, 'lines.txt'), `${TEXT}\n`);
  await writeFile(
    join(folder, 'outrider.yaml'),
    `device: gate-01
pipelines:
  - name: text
    task: text-classification
    edge: words
    cloud: big
    feed: { type: text-lines, path: lines.txt }
    route: { always: cloud, deadline: 100ms, whenOffline: both }
    redact: ${redact}
    sinks: [{ type: file, path: results.ndjson }]
`,
  );
  const flags = [
    '--config',
    join(folder, 'outrider.yaml'),
    '--data',
    join(folder, 'data'),
    '--models',
    MODELS,
  ];
  return outrider(t, ['agent', ...flags, '--agent-port', String(port)]);
}

test('the local model reads the text; outbox, labels and sinks have it without what names people', async (t) => {
  const folder = await temporaryFolder(t);
  const redact = '[email, phone, { pattern: "\\\\bK-\\\\d{6}\\\\b", as: customer }]';
  const agent = await startAgent(t, folder, redact);
  await agent.says('agent gate-01:');
  const results = join(folder, 'data/agent/results.ndjson');
  const read = async (): Promise<string> => readFile(results, 'utf8').catch(() => '');
  await eventually(async () => (await read()).includes('\n'), 'there was no Result');
  const [line = ''] = (await read()).split('\n');
  const { input, source } = JSON.parse(line) as { input: string; source: string };
  assert.deepEqual([input, source], [REDACTED, 'edge']);
  const log = join(folder, 'data/agent/outbox/log');
  const kept = Buffer.concat(
    await Promise.all((await readdir(log)).map((name) => readFile(join(log, name)))),
  ).toString('latin1');
  assert.ok(kept.includes(REDACTED));
  assert.doesNotMatch(kept, /anna@|K-123456|901820/);
});

test('an expression that is none ends the start, with its place', async (t) => {
  const agent = await startAgent(t, await temporaryFolder(t), '[email, { pattern: "(", as: a }]');
  const { code } = await agent.exited;
  assert.equal(code, 1);
  assert.match(agent.output(), /pipeline text: redact\.1\.pattern: .*\(CONFIG_INVALID\)/);
});
