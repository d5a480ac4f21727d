/** One key’s long question takes turns with everybody’s short ones, on a hub of its own with a real model. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startHubProgram } from '../../support/hub-program.ts';

const SQUAD = fileURLToPath(new URL('../../../models/squad-minilm', import.meta.url));
const SENTENCE = 'The bridge was built in 1894 by an engineer from Hamburg, and opened in spring. ';

test('short questions are answered while a context of 340 KB is read', async (t) => {
  const hub = await startHubProgram(t, { models: [SQUAD] });
  const leave = new AbortController();
  const ask = async (context: string, signal?: AbortSignal): Promise<unknown> => {
    const response = await fetch(`${hub.url}/hf/models/squad-minilm`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ inputs: { question: 'When was the bridge built?', context } }),
      ...(signal && { signal }),
    });
    assert.equal(response.status, 200, await response.clone().text());
    return response.json();
  };
  const answered: string[] = [];
  await ask(SENTENCE);
  const long = ask(SENTENCE.repeat(4_300), leave.signal).then(
    () => answered.push('long'),
    () => answered.push('left'),
  );
  for (let turn = 1; turn <= 5; turn++) {
    assert.match(JSON.stringify(await ask(SENTENCE)), /1894/);
    answered.push('short');
  }
  assert.deepEqual(answered, ['short', 'short', 'short', 'short', 'short']);
  leave.abort();
  await long;
});
