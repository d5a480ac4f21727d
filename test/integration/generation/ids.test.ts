/** The token ids themselves, with the prompt and the end token, as Python's `generate` returns them: texts could hide a difference. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { generateTokens } from '../../../shared/inference/generation/generate-tokens.ts';
import { loadGenerator } from '../../../shared/inference/generation/generation.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import type { GenerateParameters } from '../../../shared/tasks/forms/generation.ts';
import { GENERATION, references } from '../../support/generation.ts';

process.env.ORT_DISABLE_TELEMETRY = '1';
const ALONE = { threads: 1, allowSpinning: false, executionProvider: 'cpu' } as const;
const cases = await references();

for (const name of ['marian', 'bart'] as const)
  test(`${name}: ids with greedy search and beams`, async () => {
    const { path: folder, spec } = await openModelFolder(join(GENERATION, name));
    const generator = await loadGenerator({ folder, spec, ...ALONE }, 'text-to-text');
    for (const { input, parameters, ids } of cases[name]) {
      const { ids: read } = generator.tokens.read(input, 64);
      const found = await generateTokens(generator, {
        encoded: await generator.read({ ids: read }),
        parameters: parameters.generate_parameters as GenerateParameters,
        positions: 64,
      });
      assert.deepEqual([...found.prompt, ...found.tokens], ids, JSON.stringify({ input, parameters }));
    }
    const reference = cases[name];
    assert.ok(
      reference.some(({ ids }) => ids.length < 16) && reference.some(({ ids }) => ids.length > 16),
      'some end early, some do not',
    );
  });

test('what speaks of telemetry is not loaded with it on', async () => {
  const { path: folder, spec } = await openModelFolder(join(GENERATION, 'gpt2'));
  delete process.env.ORT_DISABLE_TELEMETRY;
  await assert.rejects(loadGenerator({ folder, spec, ...ALONE }, 'causal'), {
    code: 'INVARIANT_BROKEN',
  });
});
