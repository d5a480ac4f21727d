/** Every generating task against Python's transformers, on tiny models of real architectures: the same texts, token for token. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { withRunner } from '../../../shared/inference/runner/with-runner.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { TASKS } from '../../../shared/tasks/tasks.ts';
import { GENERATION, type GenerationModel, type Reference, references } from '../../support/generation.ts';

const cases = await references();

for (const [name, expected] of Object.entries(cases) as [GenerationModel, Reference[]][])
  test(`${name} answers as Python does, in ${expected.length} cases`, async () => {
    const folder = await openModelFolder(join(GENERATION, name));
    const { task } = folder.spec;
    await withRunner(folder, async (runner) => {
      for (const { input, parameters, text } of expected) {
        const body =
          TASKS[task].inputKind === 'text'
            ? Buffer.from(input)
            : await readFile(join(GENERATION, input.endsWith('.wav') ? 'sounds' : '', input));
        const { output, routeScore } = await runner.infer({ contentType: 'x', body, parameters });
        TASKS[task].output.parse(output);
        assert.equal(
          Object.values(output as Record<string, unknown>)[0],
          name === 'vit-gpt2' ? text.trim() : text,
          JSON.stringify({ input, parameters }),
        );
        assert.ok(routeScore <= 0 && Number.isFinite(routeScore));
      }
    });
  });
