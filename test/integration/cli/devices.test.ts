/** `outrider devices ls` and `enroll` against a hub's API: what an operator is shown of credentials and ids. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubServer } from '../../../cloud/api/frame/server.ts';
import { type Clock, systemClock } from '../../../shared/runtime/clock.ts';
import { newSecret } from '../../../shared/runtime/ids.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubApi } from '../../support/hub-api.ts';
import { outrider } from '../../support/programs.ts';

test('marks an id that two programs use, and a credential that has ended', async (t) => {
  let skewMs = -100_000;
  const clock: Clock = { ...systemClock, nowAtMs: () => Date.now() + skewMs };
  const hub = await startHubApi({ clock, credentialLifeMs: 50_000 });
  const server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
  await server.start();
  t.after(async () => {
    await server.stop();
    await hub.stop();
  });
  const { devices } = hub.registry;
  const enroll = async (deviceId: string): Promise<void> => {
    const { token } = await devices.createToken({});
    await devices.enroll({ token, deviceId, secret: newSecret() });
  };
  await enroll('ended');
  skewMs = 0;
  await enroll('twice');
  await enroll('well');
  for (const instance of ['a', 'b', 'a'])
    for (const id of ['twice', 'well'])
      devices.seen(id, { online: true, sinceAtMs: 1, instance: id === 'well' ? 'a' : instance });

  const ls = outrider(
    t,
    ['devices', 'ls', '--hub', `http://127.0.0.1:${server.port}`, '--key', hub.adminKey],
    { cwd: await temporaryFolder(t) },
  );
  assert.equal((await ls.exited).code, 0, ls.output());
  const line = (id: string): string =>
    ls
      .output()
      .split('\n')
      .find((one) => one.includes(id)) ?? '';
  assert.match(line('ended'), /offline, credential ended/);
  assert.match(line('twice'), /online, two programs use this id/);
  assert.doesNotMatch(line('well'), /two programs|ended/);

  const enrol = async (id: string, ...flags: string[]): Promise<string> => {
    const asked = ['--hub', `http://127.0.0.1:${server.port}`, '--key', hub.adminKey, ...flags];
    const program = outrider(t, ['devices', 'enroll', id, ...asked], { cwd: await temporaryFolder(t) });
    assert.equal((await program.exited).code, 0, program.output());
    return program.output();
  };
  const [known, isNew] = [await enrol('well'), await enrol('new')];
  assert.match(
    known,
    /well is enrolled already, and online now: the program that uses this token takes its place/,
  );
  assert.doesNotMatch(isNew, /already/);
  // What works on a device; npx would fetch a stranger's package where ours is not.
  assert.match(isNew, /node bin\/outrider\.mjs agent --hub .* --device new/);
  assert.equal(JSON.parse(await enrol('well', '--json')).isEnrolled, true);
  assert.equal(JSON.parse(await enrol('new', '--json')).isEnrolled, false);
});
