/** A real runner that holds more than it may is replaced while it is asked on and on, and no input is lost by it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startAgent } from '../../support/agent-program.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { commandOf, descendants } from '../../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../fixtures/models', import.meta.url));

test('a runner over its memory goes between two inputs', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'outrider.yaml'),
    'device: gate-01\nrunner: { maxMemory: 20MB }\npipelines:\n  - { name: text, task: text-classification, edge: words }\n',
  );
  const { agent, url } = await startAgent(t, folder, MODELS);
  const runner = (): number | undefined =>
    descendants(agent.process.pid ?? 0).find((pid) => /runner/.test(commandOf(pid)));
  const first = runner();
  assert.notEqual(first, undefined);
  for (let asked = 0; ; asked++) {
    const answer = await fetch(`${url}/v1/infer/text`, { method: 'POST', body: 'a fine film' });
    assert.equal(answer.status, 200, await answer.clone().text());
    await answer.json();
    if (asked % 100 !== 0) continue;
    if (
      /outrider_runner_replaced_total\{model="words"\} 1/.test(await (await fetch(`${url}/metrics`)).text())
    )
      break;
  }
  for (let asked = 0; asked < 20; asked++)
    assert.equal((await fetch(`${url}/v1/infer/text`, { method: 'POST', body: 'bad' })).status, 200);
  assert.notEqual(runner(), first);
});
