import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import { script } from '../../support/from-source.ts';

const WRITER = script(new URL('../../support/child-writer.ts', import.meta.url));

test('whoever reads while a file is written, and after the writer is killed, finds it whole', async (t) => {
  const path = join(await temporaryFolder(t), 'state.json');
  const whole = async (): Promise<void> => {
    const { filling } = JSON.parse(await readFile(path, 'utf8')) as { filling: string };
    assert.equal(filling, (filling[0] ?? '').repeat(filling.length));
  };
  for (let kill = 0; kill < 3; kill++) {
    const writer = fork(WRITER.file, [path], { execArgv: WRITER.execArgv });
    t.after(() => writer.kill('SIGKILL'));
    await once(writer, 'message');
    for (let i = 0; i < 30 + 7 * kill; i++) await whole();
    writer.kill('SIGKILL');
    await once(writer, 'exit');
    await whole();
  }
  // What was being written may lie about, under a name that nobody reads.
  const others = (await readdir(join(path, '..'))).filter((name) => name !== 'state.json');
  assert.ok(
    others.every((name) => name.startsWith('.state.json.') && name.endsWith('.tmp')),
    `${others}`,
  );
});
