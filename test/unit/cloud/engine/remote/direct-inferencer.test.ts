/** Inputs that go to a graph one by one: side by side, each with its own failure, and the lease given back in any case. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DirectInferencer } from '../../../../../cloud/engine/remote/direct-inferencer.ts';
import type { RunnerPool } from '../../../../../cloud/ports.ts';

const REF = { name: 'graph', version: '1', digest: 'f'.repeat(64) };

test('each input is a run of its own, beside the others', async () => {
  let leases = 0;
  let most = 0;
  let atWork = 0;
  const bodies = new Map<number, string>();
  const pool: RunnerPool = {
    async lease() {
      leases += 1;
      return {
        ref: REF,
        maxBatchSize: 32,
        async prepare({ body }) {
          const handle = bodies.size;
          bodies.set(handle, Buffer.from(body).toString());
          return { handle, shapeKey: 'one' };
        },
        async run(handles) {
          assert.equal(handles.length, 1);
          atWork += 1;
          most = Math.max(most, atWork);
          await new Promise((resolve) => setImmediate(resolve));
          atWork -= 1;
          const text = bodies.get(handles[0] ?? -1) ?? '';
          if (text === 'bad') return [{ ok: false, error: { code: 'ENGINE_FAILED', message: 'lies' } }];
          const timingsMs = { preprocess: 1, inference: 2 };
          return [{ ok: true, value: { output: text, routeScore: 1, timingsMs } }];
        },
        discard: () => undefined,
        shrink: async (body) => body,
        isStale: () => false,
        giveBack: () => {
          leases -= 1;
        },
      };
    },
  };
  const direct = new DirectInferencer(pool);
  const ask = (text: string) =>
    direct.infer({
      ...{ model: 'graph', caller: 'key a', input: { contentType: 'text/plain', body: Buffer.from(text) } },
      ...{ deadlineMonoMs: 0, expiresMonoMs: 1 },
    });
  const settled = await Promise.allSettled(['a', 'bad', 'b'].map(ask));
  assert.deepEqual(
    settled.map((one) =>
      one.status === 'fulfilled' ? one.value.output : (one.reason as { code: string }).code,
    ),
    ['a', 'ENGINE_FAILED', 'b'],
  );
  assert.equal(most, 3);
  assert.equal(leases, 0);
});
