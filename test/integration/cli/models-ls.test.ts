/** `outrider models ls` as a user types it: how the hub has tried each version. */
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { changeSpec } from '../../../shared/release/folder/spec-document.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';
import { fixtureFolder } from '../runner/fixture-models.ts';

async function run(t: TestContext, args: readonly string[]): Promise<string> {
  const program = outrider(t, args);
  const { code } = await program.exited;
  assert.equal(code, 0, program.output());
  return program.output();
}

interface Label {
  readonly label: string;
  readonly score: number;
}

test('says of each version whether its golden inputs, an answer, force or nothing speaks for it', async (t) => {
  const hub = await startHubProgram(t);
  const at = ['--hub', hub.url, '--key', hub.key];
  const text = 'a good film';
  const answer = [JSON.parse(await run(t, ['infer', 'words', text, '--json', ...at]))].flat(2) as Label[];
  const wrong = answer.map((one, index) => ({ ...one, label: answer.at(-1 - index)?.label }));
  const changes: Record<string, object> = {
    golden: { golden: [{ input: { text }, output: answer }] },
    smoke: { golden: [] },
    untested: { golden: [], trial: { untested: 'it takes nothing that could be made up' } },
    forced: { golden: [{ input: { text }, output: wrong }] },
  };
  for (const [name, change] of Object.entries(changes)) {
    const folder = join(await temporaryFolder(t), name);
    await cp(fixtureFolder('words'), folder, { recursive: true });
    await changeSpec(folder, (spec) => ({ ...spec, name, ...change }));
    await run(t, ['models', 'push', folder, '--no-wait', ...at, ...(name === 'forced' ? ['--force'] : [])]);
  }

  const table = await run(t, ['models', 'ls', ...at]);
  for (const name of Object.keys(changes))
    assert.match(table, new RegExp(`^${name} +text-classification +1 +${name} `, 'm'));
  // Its folder was put beside the hub.
  assert.match(table, /^words +text-classification +1 +none /m);
  const { models } = JSON.parse(await run(t, ['models', 'ls', '--json', ...at])) as {
    models: { name: string; versions: { test: string | null }[] }[];
  };
  const tests = Object.fromEntries(models.map(({ name, versions }) => [name, versions[0]?.test]));
  assert.deepEqual(
    { ...tests, words: tests.words ?? null },
    { ...tests, golden: 'golden', smoke: 'smoke', untested: 'untested', forced: 'forced', words: null },
  );
});
