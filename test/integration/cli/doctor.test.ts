/** `outrider doctor` as a user runs it: where nothing answers, and against a hub that cannot answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { HubServer } from '../../../cloud/api/frame/server.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubApi } from '../../support/hub-api.ts';
import { freePort } from '../../support/ports.ts';
import { outrider } from '../../support/programs.ts';

const report = z.object({
  failed: z.number(),
  findings: z.array(
    z.object({
      about: z.string(),
      level: z.enum(['ok', 'warn', 'fail']),
      found: z.string(),
      todo: z.string().nullable(),
    }),
  ),
});

test('a hub and an agent that were named and are not there are two failures', async (t) => {
  const data = await temporaryFolder(t);
  // No model folders: those have a test of their own, and take seconds.
  const nothing = ['--models', data, '--data', data];
  const away = `http://127.0.0.1:${await freePort()}`;
  const plain = outrider(t, ['doctor', ...nothing, '--agent', away, '--hub', away, '--json'], { cwd: data });
  assert.equal((await plain.exited).code, 1);
  const { findings, failed } = report.parse(JSON.parse(plain.output()));
  assert.equal(failed, 2);
  for (const about of ['hub', 'agent']) {
    const [finding] = findings.filter((one) => one.about === about);
    assert.equal(finding?.level, 'fail');
    assert.match(finding?.found ?? '', /_UNREACHABLE/);
  }
  assert.ok(
    findings.every(({ level, todo }) => level === 'ok' || todo !== null),
    'what to do about each',
  );
});

test('looks at a hub, its devices and its clock, and fails where the hub cannot answer', async (t) => {
  const hub = await startHubApi();
  const server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
  await server.start();
  t.after(async () => {
    await server.stop();
    await hub.stop();
  });
  const data = await temporaryFolder(t);
  const url = `http://127.0.0.1:${server.port}`;
  const run = async (key: string) => {
    const command = outrider(
      t,
      ['doctor', '--hub', url, '--key', key, '--models', data, '--data', data, '--json'],
      { cwd: data },
    );
    const { code } = await command.exited;
    const { findings } = report.parse(JSON.parse(command.output()));
    const by = Object.fromEntries(findings.map((one) => [one.about, one]));
    return { code, by };
  };
  const well = await run(hub.adminKey);
  assert.deepEqual(
    ['hub', 'hub version', 'clock and hub', 'devices', `port ${server.port}`].map(
      (about) => well.by[about]?.level,
    ),
    ['ok', 'ok', 'ok', 'ok', 'ok'],
  );
  assert.equal(well.code, 0);
  assert.match(well.by['hub models']?.found ?? '', /^1 of \d+ in memory, 100\.0 MB; 3 requests wait$/);
  hub.notReady = 'the MQTT broker is not connected';
  const ill = await run(hub.inferKey);
  assert.equal(ill.code, 1);
  assert.match(ill.by.hub?.found ?? '', /cannot answer: the MQTT broker is not connected/);
  assert.match(ill.by.devices?.found ?? '', /admin key/);
});
