/** What is compared with one text: by a cross-encoder, and by embeddings. The numbers of cross-encoders are in texts.test.ts. */
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { assertNear, expectedOf, referenceFolder, referenceOptions } from './reference.ts';

const asked = (input: unknown, parameters: Record<string, unknown> = {}): TaskInput => ({
  contentType: 'application/json',
  body: Buffer.from(JSON.stringify(input)),
  parameters,
});

const rejectsWith = (code: Parameters<typeof isAppError>[1], match: RegExp) => (error: unknown) =>
  isAppError(error, code) && match.test(error.message);

test('sentence similarity is the cosine of the vectors of the reference', async (t) => {
  const folder = join(await temporaryFolder(t), 'similar');
  await cp(referenceFolder('embed-cls'), folder, { recursive: true });
  const spec = JSON.parse(await readFile(join(folder, 'outrider.json'), 'utf8'));
  await writeFile(join(folder, 'outrider.json'), JSON.stringify({ ...spec, task: 'sentence-similarity' }));
  const known = expectedOf('embed-cls').filter(({ parameters }) => Object.keys(parameters).length === 0);
  const vectors = known.map(({ output }) => (output as number[][])[0] ?? []);
  const texts = known.map(({ text = '' }) => text);
  const cosine = (a: readonly number[], b: readonly number[]): number => {
    const dot = (x: readonly number[], y: readonly number[]) =>
      x.reduce((sum, v, i) => sum + v * (y[i] ?? 0), 0);
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  };
  const runner = await startRunner(referenceOptions('', { folder }));
  t.after(() => runner.stop());
  for (const [index, source] of texts.entries()) {
    const { output } = await runner.infer(asked({ source_sentence: source, sentences: texts }));
    const expected = vectors.map((one) => cosine(vectors[index] ?? [], one));
    assertNear(output, expected, source);
  }
  const plain = { source_sentence: 'a', sentences: ['b'] };
  await assert.rejects(
    runner.infer(asked({ ...plain, sentences: [] })),
    rejectsWith('INPUT_INVALID', /sentences/),
  );
  await assert.rejects(
    runner.infer(asked({ ...plain, sentences: ['b', ' '] })),
    rejectsWith('INPUT_EMPTY', /blank/),
  );
  await assert.rejects(
    runner.infer(asked({ ...plain, source_sentence: 'word '.repeat(200) }, { truncate: false })),
    rejectsWith('INPUT_INVALID', /tokens/),
  );
  await assert.rejects(
    runner.infer(asked(plain, { prompt_name: 'nobody' })),
    rejectsWith('PARAMETERS_INVALID', /nobody/),
  );
});

test('text ranking refuses what it cannot rank', async (t) => {
  const runner = await startRunner(referenceOptions('rank-bert'));
  t.after(() => runner.stop());
  const long = 'word '.repeat(100);
  for (const [input, parameters, code, match] of [
    [{ query: ' ', texts: ['a'] }, {}, 'INPUT_EMPTY', /query/],
    [{ query: 'a', texts: [] }, {}, 'INPUT_INVALID', /texts/],
    [{ query: 'a', texts: new Array(300).fill('b') }, {}, 'INPUT_INVALID', /texts/],
    [{ query: 'a', texts: [1] }, {}, 'INPUT_INVALID', /texts\.0/],
    [{ query: 'a', texts: ['b', long] }, { truncate: false }, 'INPUT_INVALID', /texts\.1.*45 tokens/],
    [{ query: 'a', texts: ['b'] }, { top_n: 0 }, 'PARAMETERS_INVALID', /top_n/],
  ] as const)
    await assert.rejects(
      runner.infer(asked(input, parameters)),
      rejectsWith(code, match),
      JSON.stringify(input),
    );
  const cut = await runner.infer(asked({ query: long, texts: [long, ''] }));
  assert.equal(cut.isCut, true);
  assert.equal((cut.output as unknown[]).length, 2);
});
