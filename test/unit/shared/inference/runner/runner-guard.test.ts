import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchMemory } from '../../../../../shared/inference/runner/runner-guard.ts';
import { residentBytes } from '../../../../../shared/runtime/resident-memory.ts';

test('the memory of who has nothing to do is not looked at until it begins again', async () => {
  const now = (await residentBytes(process.pid)) ?? 0;
  const ending = new AbortController();
  let begin = (): void => undefined;
  let asked = 0;
  const untilAtWork = (): Promise<void> | undefined => {
    asked += 1;
    return new Promise((resolve) => {
      begin = resolve;
    });
  };
  let held = 0;
  const onTooMuch = (rssBytes: number): void => {
    held = rssBytes;
  };
  const limit = now + 64 * 1024 * 1024;
  const watch = watchMemory(process.pid, limit, { signal: ending.signal, onTooMuch, untilAtWork });
  const grown = Buffer.alloc(256 * 1024 * 1024, 1);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.deepEqual([asked, held], [1, 0]);
  begin();
  await watch;
  assert.ok(held > limit && grown.length > 0);
});
