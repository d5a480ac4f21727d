/** Windows of numbers, asked of a hub that runs a real model: over its faces, and as a user types it. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/fixed.ts';
import { type GenerationHub, startModelHub } from '../../support/generation.ts';
import { outrider } from '../../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../../models', import.meta.url));
const MODEL = 'basicmotions-transformer';
const golden = (index: number): Promise<string> =>
  readFile(join(MODELS, MODEL, 'golden', `${index}.json`), 'utf8');

let hub: GenerationHub;
before(async () => {
  hub = await startModelHub(MODELS, { [MODEL]: 'time-series-classification' });
});
after(() => hub.stop());

async function ask(
  path: string,
  body: unknown,
): Promise<{ readonly status: number; readonly json: unknown }> {
  const answer = await fetch(`${hub.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${hub.adminKey}` },
    body: JSON.stringify(body),
  });
  return { status: answer.status, json: await answer.json() };
}

it('answers by Hugging Face’s API and by Open Inference alike', async () => {
  const inputs = JSON.parse(await golden(2)) as object;
  const { json } = await ask(`/hf/models/${MODEL}`, { inputs, parameters: { top_k: 1 } });
  const [[best]] = json as [[{ label: string; score: number }]];
  assert.equal(best.label, 'Running');
  const data = [JSON.stringify(inputs)];
  const open = await ask(`/v2/models/${MODEL}/infer`, {
    inputs: [{ name: 'json', shape: [1], datatype: 'BYTES', data }],
  });
  const { outputs } = open.json as { outputs: { name: string; data: unknown[] }[] };
  assert.deepEqual(outputs.find(({ name }) => name === 'label')?.data, ['Running']);
  const odd = await ask(`/hf/models/${MODEL}`, { inputs: { values: [[1, 'warm']] } });
  assert.equal(odd.status, 422);
  assert.match(JSON.stringify(odd.json), /row 0, channel 1 is not a number/);
});

it('`outrider infer` takes a window as JSON, on the command line too, and as CSV with or without names', async (t) => {
  const cwd = await temporaryFolder(t);
  const { values } = JSON.parse(await golden(3)) as { values: number[][] };
  const rows = values.map((row) => row.join(','));
  await writeFile(join(cwd, 'window.json'), JSON.stringify({ values }));
  await writeFile(join(cwd, 'window.csv'), `${rows.join('\n')}\n`);
  await writeFile(join(cwd, 'named.csv'), `ax;ay;az;gx;gy;gz\n${rows.join('\n').replaceAll(',', ';')}\n`);
  await writeFile(join(cwd, 'odd.csv'), `${rows[0]}\n1,2,3,4,5,warm\n`);
  const infer = async (input: string): Promise<string> => {
    const program = outrider(t, ['infer', MODEL, input, '--hub', hub.url, '--key', hub.adminKey], { cwd });
    await program.exited;
    return program.output();
  };
  const said = await Promise.all(
    ['window.json', 'window.csv', 'named.csv', JSON.stringify(values)].map((one) => infer(one)),
  );
  for (const one of said) assert.match(one, /^label +score\nWalking +0\.9/);
  assert.match(await infer('odd.csv'), /line 2 of the CSV: “warm” is not a number \(USAGE\)/);
});
