/** A hub is lost and comes back from a backup, as one types it, with a device that has seen what the backup has not. */
import assert from 'node:assert/strict';
import { readdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { HubClient } from '../../cli/hub-client.ts';
import { deviceList } from '../../shared/contract/admin.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { recalibrated } from '../support/model-variants.ts';
import { eventually, outrider, upFlags } from '../support/programs.ts';

const NAME = 'cifar10-cnn';
/** A device is asked often, and leaves the machine to those who make the update. */
const ASK_EVERY_MS = 20;
const PICTURES = new URL('../../models/demo/pictures/', import.meta.url);

async function run(t: TestContext, ...args: string[]): Promise<{ code: number | null; said: string }> {
  const command = outrider(t, args);
  const { code } = await command.exited;
  return { code, said: command.output() };
}

test('devices go on with a hub that comes back from a backup, and take what is pushed next', async (t) => {
  const data = await temporaryFolder(t);
  const copy = join(await temporaryFolder(t), 'backup');
  const [name = ''] = await readdir(PICTURES);
  const picture = await readFile(new URL(name, PICTURES));
  const start = async () => {
    // Other ports each time, as nothing else depends on them.
    const { flags, hub, agent } = await upFlags(data);
    const up = outrider(t, ['up', ...flags]);
    await up.says(/edge +confident/);
    const client = await HubClient.find({ hub, data });
    const running = async (version: string): Promise<void> =>
      eventually(async () => {
        const { devices } = await client.get('/api/v1/devices', deviceList);
        const reported = devices.find(({ id }) => id === 'demo')?.reported;
        return reported?.pipelines.find(({ name }) => name === 'vision')?.edge?.version === version;
      }, `the device does not run ${version}`);
    // What is on trial is committed after so many answers.
    const asking = { isOver: false };
    const asked = (async () => {
      while (!asking.isOver) {
        const answer = await fetch(`${agent}/v1/infer/vision?route=edge`, { method: 'POST', body: picture });
        await answer.arrayBuffer();
        await delay(ASK_EVERY_MS);
      }
    })();
    await running('1');
    return {
      running,
      push: async (temperature: number) =>
        run(
          t,
          'models',
          'push',
          await recalibrated(NAME, join(data, `t-${temperature}`), temperature),
          '--data',
          data,
        ),
      stop: async () => {
        asking.isOver = true;
        await asked;
        up.process.kill('SIGTERM');
        await up.exited;
      },
    };
  };

  const first = await start();
  const backedUp = await run(t, 'hub', 'backup', copy, '--data', data);
  assert.equal(backedUp.code, 0, backedUp.said);
  assert.match(backedUp.said, /^hub-[0-9a-f]+ is backed up in .*backup: \d+ files and [\d.]+ MB of models/);
  const pushed = await first.push(0.81);
  assert.match(pushed.said, /demo: cifar10-cnn@2 committed/);
  await first.stop();

  // The disk of the hub is lost; the device is another machine, and keeps what it has.
  await rename(join(data, 'hub'), join(data, 'lost'));
  const restored = await run(t, 'hub', 'restore', copy, '--data', data);
  assert.equal(restored.code, 0, restored.said);
  assert.match(restored.said, /is back in .*hub, as it was at 20/);
  assert.match(restored.said, /Next: outrider hub --data \//);
  assert.match((await run(t, 'hub', 'restore', copy, '--data', data)).said, /already.*\(CONFLICT\)/);

  const second = await start();
  await assert.rejects(stat(join(data, 'hub', 'restored.json')), { code: 'ENOENT' });
  const next = await second.push(0.82);
  assert.match(next.said, /cifar10-cnn@3 is published/, 'a number that no device has seen');
  assert.match(next.said, /demo: cifar10-cnn@3 committed/);
  await second.running('3');
  const log = await readFile(join(data, 'logs', 'agent.log'), 'utf8');
  assert.doesNotMatch(log, /UPDATE_OLDER|LINK_REFUSED/);
  await second.stop();
});

test('wrong use of backup and restore is told', async (t) => {
  const data = await temporaryFolder(t);
  assert.match((await run(t, 'hub', 'backup')).said, /takes one folder.*\(USAGE\)/);
  assert.match((await run(t, 'hub', 'backup', 'x', 'y')).said, /takes one folder.*\(USAGE\)/);
  const none = await run(t, 'hub', 'backup', join(data, 'x'), '--data', data);
  assert.deepEqual([none.code, /no hub in .*\(FILE_UNREADABLE\)/.test(none.said)], [1, true]);
  assert.match(
    (await run(t, 'hub', 'restore', data, '--data', data)).said,
    /no backup in .*\(FILE_UNREADABLE\)/,
  );
  assert.match((await run(t, 'hub', 'restore', '--help')).said, /outrider hub restore DIR/);
});
