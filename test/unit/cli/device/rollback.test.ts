/** Going back, with programs of this test in the place of systemctl and journalctl: what they are asked is seen, and no machine is touched. */
import assert from 'node:assert/strict';
import { chmod, readFile, readlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { placeBelow } from '../../../../cli/device/place.ts';
import { readRelease } from '../../../../cli/device/release-folder.ts';
import { goBack } from '../../../../cli/device/rollback.ts';
import { mustRun } from '../../../../cli/device/system-command.ts';
import { placeRelease, switchTo } from '../../../../cli/device/versions.ts';
import { type Clock, systemClock } from '../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { smallRelease } from '../../../support/small-release.ts';

/** Nobody waits for the time in which it must stay up. */
const AT_ONCE: Clock = { ...systemClock, sleep: () => Promise.resolve() };

async function programs(t: TestContext, scripts: Readonly<Record<string, string>>): Promise<string> {
  const folder = await temporaryFolder(t);
  for (const [name, body] of Object.entries(scripts)) {
    await writeFile(join(folder, name), `#!/bin/sh\necho "${name} $*" >> ${folder}/asked\n${body}\n`);
    await chmod(join(folder, name), 0o755);
  }
  const before = process.env.PATH;
  process.env.PATH = `${folder}${delimiter}${before}`;
  t.after(() => {
    process.env.PATH = before;
  });
  return join(folder, 'asked');
}

async function twoVersions(t: TestContext) {
  const folder = await temporaryFolder(t);
  const place = placeBelow(join(folder, 'root'));
  for (const version of ['9.1.0', '9.2.0']) {
    const release = await readRelease(await smallRelease(join(folder, version), { version }));
    await switchTo(place, (await placeRelease(place, release)).folder);
  }
  return place;
}

test('goes back to the version before, and back again', async (t) => {
  const place = await twoVersions(t);
  const asked = await programs(t, { systemctl: 'echo ActiveState=active; echo MainPID=7', journalctl: '' });
  assert.deepEqual(await goBack(place, AT_ONCE), { version: '9.1.0', previous: '9.2.0' });
  assert.equal(await readlink(place.current), '9.1.0');
  assert.match(await readFile(place.unit, 'utf8'), /^ExecStart=/m);
  const lines = (await readFile(asked, 'utf8')).split('\n').filter((line) => !line.includes(' show '));
  assert.deepEqual(lines, [
    'systemctl daemon-reload',
    'systemctl reset-failed outrider-agent',
    'systemctl restart outrider-agent',
    '',
  ]);
  assert.deepEqual(await goBack(place, AT_ONCE), { version: '9.2.0', previous: '9.1.0' });
});

test('a version that does not come up is told with what it said', async (t) => {
  const place = await twoVersions(t);
  await programs(t, {
    systemctl: 'test "$1" != restart || { echo "Job failed." >&2; exit 1; }',
    journalctl: 'echo "outrider: port 8090 is taken (PORT_TAKEN)"',
  });
  await assert.rejects(
    goBack(place),
    (error) =>
      isAppError(error, 'SERVICE_FAILED') &&
      error.message ===
        'Outrider 9.1.0 does not come up: Job failed.\noutrider: port 8090 is taken (PORT_TAKEN)',
  );
});

test('nothing to go back to, and a program that this machine lacks or that fails, are named', async (t) => {
  const place = placeBelow(await temporaryFolder(t));
  const isSaid = (why: RegExp) => (error: unknown) =>
    isAppError(error, 'INSTALL_IMPOSSIBLE') && why.test(error.message);
  await assert.rejects(goBack(place), isSaid(/no version before this one is kept here/));
  await assert.rejects(
    mustRun('outrider-has-no-such', []),
    isSaid(/this machine has no outrider-has-no-such/),
  );
  await programs(t, { useradd: 'echo "cannot lock /etc/passwd" >&2; exit 10' });
  await assert.rejects(
    mustRun('useradd', ['x']),
    isSaid(/useradd x ended with 10: cannot lock \/etc\/passwd/),
  );
});
