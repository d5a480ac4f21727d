import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SerialQueue } from '../../../../shared/runtime/serial-queue.ts';

test('work follows each other in order, whatever fails, and each caller hears of its own', async () => {
  const queue = new SerialQueue();
  const seen: string[] = [];
  let go: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const first = queue.run(async () => {
    await gate;
    seen.push('first');
    return 1;
  });
  const second = queue.run(async () => {
    seen.push('second');
    throw new Error('second fails');
  });
  const third = queue.run(async () => seen.push('third'));
  assert.equal(queue.length, 3);
  assert.deepEqual(seen, []);
  go();
  assert.equal(await first, 1);
  await assert.rejects(second, /second fails/);
  await third;
  await queue.settled();
  assert.deepEqual(seen, ['first', 'second', 'third']);
  assert.equal(queue.length, 0);
});
