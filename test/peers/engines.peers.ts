/** Engines of others: the hub asks the real servers, and what they say is what is recorded for the tests that have none of them. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startHubProgram } from '../support/hub-program.ts';
import { HOW_TO_GET_KSERVE, hasKServe, startKServe } from '../support/kserve.ts';
import { HOW_TO_GET_MLSERVER, hasMlServer, startMlServer } from '../support/mlserver.ts';
import { outrider } from '../support/programs.ts';
import { compareExchanges, recordingProxy } from '../support/recorded-engine.ts';

const MNIST = fileURLToPath(new URL('../../models/mnist-cnn', import.meta.url));

test(
  'MLServer runs the graph of a picture model: the hub answers as it does by itself',
  {
    skip: !hasMlServer() && HOW_TO_GET_MLSERVER,
  },
  (t) => answersAsAtHome(t, 'mlserver', startMlServer),
);

test(
  'KServe runs the graph of a picture model: the hub answers as it does by itself',
  {
    skip: !hasKServe() && HOW_TO_GET_KSERVE,
  },
  (t) => answersAsAtHome(t, 'kserve', startKServe),
);

/** @param name of what is recorded */
async function answersAsAtHome(t: TestContext, name: string, start: typeof startMlServer): Promise<void> {
  const real = await start(t, 'mnist', join(MNIST, 'onnx', 'model_quantized.onnx'));
  const { url, exchanges } = await recordingProxy(t, real);
  const hub = await startHubProgram(t, { models: [MNIST] });
  const picture = new Uint8Array(await readFile(join(MNIST, 'golden', '1.png')));
  const ask = async (): Promise<unknown> => {
    const headers = { authorization: `Bearer ${hub.key}` };
    const response = await fetch(`${hub.url}/hf/models/mnist-cnn`, {
      method: 'POST',
      headers,
      body: picture,
    });
    const answer: unknown = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const home = await ask();
  const added = outrider(t, [
    ...['models', 'add', 'mnist-cnn', '--engine', url, '--kind', 'open-inference', '--remote-name', 'mnist'],
    ...['--hub', hub.url, '--key', hub.key],
  ]);
  assert.equal((await added.exited).code, 0, added.output());
  const away = await ask();
  assert.deepEqual(rounded(away), rounded(home));
  assert.ok(exchanges.some(({ path }) => path === '/v2/models/mnist/infer'));
  await compareExchanges(name, exchanges);
}

/** Machines differ in the last digits. */
const rounded = (answer: unknown): unknown =>
  (answer as ({ label: string; score: number } | { label: string; score: number }[])[])
    .flat()
    .map(({ label, score }) => [label, score.toFixed(3)]);
