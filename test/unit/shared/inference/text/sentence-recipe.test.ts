import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pool, readSentenceRecipe } from '../../../../../shared/inference/text/sentence-recipe.ts';
import { temporaryFolder } from '../../../../support/fixed.ts';

async function folderOf(t: TestContext, pooling: object, lengths: object): Promise<string> {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, '1_Pooling'));
  const types = ['Transformer', 'Pooling', 'Normalize'];
  const modules = types.map((type, idx) => ({
    ...{ idx, name: String(idx), path: type === 'Pooling' ? '1_Pooling' : '' },
    type: `sentence_transformers.models.${type}`,
  }));
  for (const [file, json] of [
    ['modules.json', modules],
    ['1_Pooling/config.json', pooling],
    ['sentence_bert_config.json', lengths],
  ] as const)
    await writeFile(join(folder, file), JSON.stringify(json));
  return folder;
}

test('each pooling of sentence-transformers is its own mean', async (t) => {
  // f32[3,2]; what torch gives: sum/3, sum/sqrt(3), (1*a + 2*b + 3*c)/6
  const states = Float32Array.from([1, -2, 3, 4, 8, 1]);
  const expected: [string, number[]][] = [
    ['cls_token', [1, -2]],
    ['max_tokens', [8, 4]],
    ['lasttoken', [8, 1]],
    ['mean_tokens', [4, 1]],
    ['mean_sqrt_len_tokens', [12 / Math.sqrt(3), 3 / Math.sqrt(3)]],
    ['weightedmean_tokens', [31 / 6, 9 / 6]],
  ];
  for (const [mode, vector] of expected) {
    const flags = { pooling_mode_cls_token: false, [`pooling_mode_${mode}`]: true };
    for (const config of [flags, { pooling_mode: mode.replace(/_tokens?$/, '') }]) {
      if ('pooling_mode' in config && mode === 'mean_sqrt_len_tokens') config.pooling_mode = mode;
      const { pooling } = await readSentenceRecipe(await folderOf(t, config, {}));
      assert.deepEqual([...pool(states, 2, pooling)], vector, JSON.stringify(config));
    }
  }
});

test('small letters where the folder says so, whatever its tokenizer does', async (t) => {
  const pooling = { pooling_mode_mean_tokens: true };
  const lowers = await folderOf(t, pooling, { max_seq_length: 20, do_lower_case: true });
  assert.equal((await readSentenceRecipe(lowers)).lowers, true);
  assert.equal((await readSentenceRecipe(await folderOf(t, pooling, { max_seq_length: 20 }))).lowers, false);
});
