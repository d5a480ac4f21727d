/** `outrider doctor <model>` prints what a model is and does here, of ours and of others', and keeps nothing. */
import assert from 'node:assert/strict';
import { cp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import { outrider } from '../../support/programs.ts';
import { fixtureFolder } from '../runner/fixture-models.ts';

async function doctor(t: TestContext, ...args: string[]): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, ['doctor', ...args]);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

test('one of ours is found by its name, and answers as its golden inputs say', async (t) => {
  const { code, output } = await doctor(t, 'sst2-lstm');
  assert.equal(code, 0, output);
  for (const line of [
    /task +text-classification/,
    /precision +int8-dynamic/,
    /outputs +logits float32\[\?,2\]/,
    /answers +as its golden inputs say/,
    /batches +one by one/,
    /time +\d+\.\d ms an input, one thread/,
    /memory +\d+\.\d MB resident/,
  ])
    assert.match(output, line);
});

test('somebody else’s is described in a copy', async (t) => {
  const folder = join(await temporaryFolder(t), 'exported');
  await cp(fixtureFolder('words'), folder, { recursive: true });
  await rm(join(folder, 'outrider.json'));
  const { code, output } = await doctor(t, folder, '--task', 'text-classification', '--json');
  assert.equal(code, 0, output);
  const card = JSON.parse(output);
  assert.equal(card.folder, folder);
  assert.equal(card.answersAlikeInBatches, true);
  assert.equal((await readdir(folder)).includes('outrider.json'), false);
});

test('one that is nowhere is named, and one that cannot run says why', async (t) => {
  assert.match(
    (await doctor(t, 'no-such-model')).output,
    /neither a folder nor a file no-such-model.*\(MODEL_UNKNOWN\)/,
  );
  const { code, output } = await doctor(t, fixtureFolder('no-labels'));
  assert.equal(code, 1);
  assert.match(output, /\(MODEL_INVALID\)/);
});
