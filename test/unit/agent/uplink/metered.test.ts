import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isSystemMetered } from '../../../../agent/uplink/metered.ts';
import { quickFolder } from '../../../support/fixed.ts';

test('a link is metered by NetworkManager’s word, guessed or said; without it, it is not', async (t) => {
  const folder = await quickFolder(t);
  const program = join(folder, 'busctl');
  const says = async (text: string): Promise<boolean> => {
    await writeFile(program, `#!/bin/sh\n${text}\n`);
    await chmod(program, 0o755);
    return isSystemMetered(program);
  };
  const found = [];
  for (const value of [0, 1, 2, 3, 4]) found.push(await says(`echo 'u ${value}'`));
  assert.deepEqual(found, [false, true, false, true, false]);
  assert.equal(await says('echo "Failed to connect to bus" >&2; exit 1'), false);
  assert.equal(await isSystemMetered(join(folder, 'none')), false);
});
