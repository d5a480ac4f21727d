import assert from 'node:assert/strict';
import { appendFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { WebhookQueue } from '../../../../../agent/sink/webhook/queue.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../../../support/fixed.ts';

const NOW_AT_MS = Date.UTC(2026, 10, 30);
const BOUNDS = { bytes: 1e6, ageMs: 3_600_000 };
const message = (id: string, body = '{}', atMs = NOW_AT_MS) => ({ id, atMs, body });

async function pathIn(t: TestContext): Promise<string> {
  return join(await temporaryFolder(t), 'webhooks', 'gate.ndjson');
}

async function opened(t: TestContext, path: string, bounds = BOUNDS): Promise<WebhookQueue> {
  const queue = new WebhookQueue(path, bounds);
  t.after(() => queue.close());
  await queue.open();
  return queue;
}

/** Everything that waits, taken out. */
async function drained(queue: WebhookQueue): Promise<string[]> {
  const ids: string[] = [];
  for (let next = await queue.oldest(); next; next = await queue.oldest()) {
    ids.push(next.id);
    await queue.done(next.id);
  }
  return ids;
}

test('what was put is there after a restart, in order, without what was taken', async (t) => {
  const path = await pathIn(t);
  const queue = await opened(t, path);
  for (const id of ['a', 'b', 'c', 'b']) await queue.put(message(id, `{"of":"${id}"}`));
  await queue.done('a');
  // Killed: nothing was closed.
  const again = await opened(t, path);
  assert.equal(again.length, 2);
  assert.deepEqual(await again.oldest(), message('b', '{"of":"b"}'));
  assert.deepEqual(await drained(again), ['b', 'c']);
  assert.equal((await opened(t, path)).length, 0);
});

test('a torn line is no message, and what follows it is', async (t) => {
  const path = await pathIn(t);
  const queue = await opened(t, path);
  await queue.put(message('a'));
  await queue.close();
  await appendFile(path, '{"id":"torn","atM');
  const again = await opened(t, path);
  await again.put(message('b'));
  assert.deepEqual(await drained(again), ['a', 'b']);
});

test('over its bytes the oldest go, over its age the old, and a clock that was never set says nothing', async (t) => {
  const path = await pathIn(t);
  const queue = await opened(t, path, { bytes: 250, ageMs: 3_600_000 });
  const body = JSON.stringify('x'.repeat(40));
  for (const id of ['a', 'b', 'c', 'd']) await queue.put(message(id, body));
  assert.deepEqual(await queue.sweep(NOW_AT_MS), { overAge: 0, overBytes: 2 });
  await queue.put(message('e', '{}', 1_000));
  assert.deepEqual(await queue.sweep(NOW_AT_MS + 3_600_001), { overAge: 2, overBytes: 0 });
  assert.deepEqual(await drained(await opened(t, path)), ['e']);
});

test('the file does not grow with what has gone', async (t) => {
  const path = await pathIn(t);
  const queue = await opened(t, path);
  await queue.put(message('kept', '{"kept":true}'));
  const body = JSON.stringify('x'.repeat(100_000));
  for (let i = 0; i < 40; i++) {
    await queue.put(message(`m${i}`, body));
    await queue.done(`m${i}`);
  }
  assert.ok((await stat(path)).size < 1.5e6);
  assert.deepEqual(await queue.oldest(), message('kept', '{"kept":true}'));
  await queue.put(message('new', '{"new":true}'));
  await queue.close();
  assert.deepEqual(await drained(await opened(t, path)), ['kept', 'new']);
});

test('a message that somebody has overwritten is said to be, and gone over', async (t) => {
  const path = await pathIn(t);
  const queue = await opened(t, path);
  await queue.put(message('a'));
  await queue.put(message('b'));
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace('"a"', '"A"'));
  await assert.rejects(queue.oldest(), (error) => isAppError(error, 'DATA_CORRUPT'));
  assert.equal((await queue.oldest())?.id, 'b');
});

test('whatever is put, taken, swept and reopened: it is a plain list', async (t) => {
  const folder = await temporaryFolder(t);
  let count = 0;
  const step = fc.oneof(
    fc.record({ do: fc.constant('put' as const), id: fc.nat(12), size: fc.nat(200) }),
    fc.record({ do: fc.constant('done' as const), id: fc.nat(12), size: fc.constant(0) }),
    fc.record({ do: fc.constant('open' as const), id: fc.constant(0), size: fc.constant(0) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const path = join(folder, `${count++}.ndjson`);
      let queue = await opened(t, path);
      let model: string[] = [];
      for (const { do: what, id, size } of steps) {
        const name = `id-${id}`;
        if (what === 'put') {
          await queue.put(message(name, JSON.stringify('ü'.repeat(size))));
          if (!model.includes(name)) model.push(name);
        } else if (what === 'done') {
          await queue.done(name);
          model = model.filter((one) => one !== name);
        } else {
          await queue.close();
          queue = await opened(t, path);
        }
        assert.equal(queue.length, model.length);
        assert.equal((await queue.oldest())?.id, model[0]);
      }
      await queue.close();
    }),
    { numRuns: 40 },
  );
});
