/** A hub whose keys of root and targets have been moved off it, and somebody who pushes with the key in hand. */
import assert from 'node:assert/strict';
import { appendFile, cp, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HubClient } from '../../../cli/hub-client.ts';
import { modelRecord } from '../../../shared/contract/admin.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';

const COLOURS = fileURLToPath(new URL('../../fixtures/models/colours', import.meta.url));

test('a version waits on the hub for its signature, is listed and deployed by --signing-key, and by no other key', async (t) => {
  const safe = await temporaryFolder(t);
  const first = await startHubProgram(t, { args: ['--deploy', 'auto'] });
  assert.match(first.output(), /development signing keys/);
  await first.stop();
  for (const role of ['root', 'targets'])
    await rename(join(first.folder, 'tuf', 'keys', `${role}.pem`), join(safe, `${role}.pem`));
  const { url, key, folder, output } = await startHubProgram(t, {
    folder: first.folder,
    args: ['--deploy', 'auto'],
  });
  assert.doesNotMatch(output(), /development signing keys/);

  const next = join(safe, 'colours');
  await cp(COLOURS, next, { recursive: true });
  // Another version, that answers the same.
  await appendFile(join(next, 'outrider.json'), '\n');
  const push = async (...args: string[]) => {
    const command = outrider(t, ['models', 'push', next, '--hub', url, '--key', key, '--no-wait', ...args]);
    const { code } = await command.exited;
    return { code, said: command.output() };
  };
  const client = new HubClient(url, key);
  const state = async () => {
    const { deployed, versions } = await client.get('/api/v1/models/colours', modelRecord);
    const targets = Buffer.from((await client.getBytes('/api/v1/tuf/targets')).body).toString();
    const listed = ['1', '2'].filter((version) => targets.includes(`"models/colours/${version}/`));
    const published = versions.filter((one) => one.published).map(({ version }) => version);
    return { deployed, published, known: versions.length, listed };
  };

  const missing = await push('--signing-key', join(safe, 'none.pem'));
  assert.equal(missing.code, 1);
  assert.match(missing.said, /none\.pem cannot be read: .+ \(FILE_UNREADABLE\)/);
  assert.equal((await state()).known, 1, 'a key that is none is told before anything is uploaded');

  const without = await push();
  assert.equal(without.code, 1);
  assert.match(without.said, /colours@2 is uploaded and waits for its signature.*--signing-key/);
  const waiting = { deployed: '1', published: ['1'], known: 2, listed: ['1'] };
  assert.deepEqual(await state(), waiting);

  const wrong = await push('--signing-key', join(safe, 'root.pem'));
  assert.equal(wrong.code, 1);
  assert.match(wrong.said, /not signed with this key.*\(UPDATE_UNTRUSTED\)/);
  assert.deepEqual(await state(), waiting);

  const signed = await push('--signing-key', join(safe, 'targets.pem'));
  assert.equal(signed.code, 0, signed.said);
  assert.match(signed.said, /colours@2 is published/);
  assert.deepEqual(await state(), { deployed: '2', published: ['2', '1'], known: 2, listed: ['1', '2'] });
  const again = await push('--signing-key', join(safe, 'targets.pem'));
  assert.match(again.said, /colours@2 was published before/);
  await assert.rejects(readFile(join(folder, 'tuf', 'keys', 'targets.pem')), 'the key stays where it is');
});
