/** What the real MLServer and the real KServe have said (test/peers/engines.peers.ts records it): the same questions are asked today, and its answers are read. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openRemotely } from '../../../../../shared/inference/remote/remote-session.ts';
import { loadImageClassification } from '../../../../../shared/inference/tasks/image-classification.ts';
import { readSpec } from '../../../../../shared/release/folder/model-folder.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';
import { recordedExchanges, replayedEngine } from '../../../../support/recorded-engine.ts';

const MNIST = fileURLToPath(new URL('../../../../../models/mnist-cnn', import.meta.url));

for (const name of ['mlserver', 'kserve'])
  test(`the answers of ${name} make the labels that the folder’s own graph makes`, async (t) => {
    const server = await replayedEngine(t, await recordedExchanges(name));
    const spec = await readSpec(MNIST);
    const model = await loadImageClassification({
      ...{ folder: MNIST, spec, threads: 1, allowSpinning: false, executionProvider: 'cpu' },
      openSession: openRemotely({
        ...{ url: server.url, key: null, ca: null, timeoutMs: 30_000 },
        model: { name: 'mnist', version: null },
      }),
    });
    const body = await readFile(join(MNIST, 'golden', '1.png'));
    const [answer] = await model.run([await model.prepare({ contentType: 'image/png', body })]);
    assert.ok(answer && !isAppError(answer));
    const [best] = answer.output as { label: string; score: number }[];
    const [golden] = (spec.golden[0]?.output ?? []) as { label: string; score: number }[];
    assert.equal(best?.label, golden?.label);
    assert.ok(Math.abs((best?.score ?? 0) - (golden?.score ?? 9)) < 1e-3);
  });
