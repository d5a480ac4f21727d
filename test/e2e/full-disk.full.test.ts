/** A real disk that gets full (a tmpfs of 3 MB, which needs root): new requests are turned away, accepted ones are not. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { enrollmentToken } from '../../shared/contract/admin.ts';
import { type Answer, answer, isFailure, result } from '../../shared/contract/result.ts';
import { systemCode } from '../../shared/runtime/errors.ts';
import { goodPicture } from '../support/bad-inputs.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { eventually, isAlive, outrider, type Program } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const DISK_BYTES = 3 * 1024 * 1024;
const ACCEPTED = 5;
/** `both` answers itself when it must, `far` cannot. */
const CONFIG = `device: gate
pipelines:
  - { name: both, task: image-classification, edge: colours, cloud: colours }
  - { name: far, task: image-classification, cloud: colours }
`;

const owing = z.object({ link: z.object({ online: z.boolean(), outbox: z.object({ entries: z.int() }) }) });

test('a full disk turns new requests away, and loses nothing that was accepted', async (t) => {
  const disk = mountSmallDisk(t);
  const root = await temporaryFolder(t);
  const models = join(root, 'models');
  cpSync(join(FIXTURES, 'colours'), join(models, 'colours'), { recursive: true });
  const config = join(root, 'outrider.yaml');
  writeFileSync(config, CONFIG);

  const [hubPort, mqttPort, agentPort] = [await freePort(), await freePort(), await freePort()];
  const hubFlags = ['--data', join(root, 'hub'), '--models', models];
  const startHub = async (): Promise<Program> => {
    const hub = outrider(t, [
      'hub',
      ...hubFlags,
      '--hub-port',
      String(hubPort),
      '--mqtt-port',
      String(mqttPort),
    ]);
    await hub.says(/^hub /m);
    return hub;
  };
  const hubUrl = `http://127.0.0.1:${hubPort}`;
  let hub = await startHub();
  const agent = outrider(
    t,
    [
      'agent',
      '--config',
      config,
      '--data',
      disk,
      '--models',
      models,
      '--hub',
      hubUrl,
      '--agent-port',
      String(agentPort),
    ],
    { env: { OUTRIDER_ENROLL_TOKEN: await tokenOf(hubUrl, join(root, 'hub')) } },
  );
  await agent.says(/^agent gate: /m);
  const url = `http://127.0.0.1:${agentPort}`;
  const state = async () => owing.parse(await (await fetch(`${url}/v1/pipelines`)).json()).link;
  await eventually(async () => (await state()).online, 'the link did not come up');

  const timesOffline = () =>
    readFileSync(join(disk, 'logs', 'agent.log'), 'utf8').split('uplink.offline').length;

  const owed: string[] = [];
  await t.test('what is accepted while the hub is away is owed', async () => {
    await stop(hub);
    await eventually(async () => !(await state()).online, 'the agent did not notice');
    for (let index = 0; index < ACCEPTED; index++) {
      const first = await ask(url, 'both');
      assert.deepEqual([first.source, first.reason, first.provisional], ['edge', 'offline', true]);
      owed.push(first.id);
    }
    assert.equal((await state()).outbox.entries, ACCEPTED);
  });

  await t.test(
    'with the disk full a new request gets the local answer, or DISK_FULL where there is none',
    async () => {
      fill(join(disk, 'filler'));
      // What still fits into the last page of the log is accepted, and owed.
      for (let first = await ask(url, 'both'); first.provisional; first = await ask(url, 'both'))
        owed.push(first.id);
      for (let index = 0; index < 3; index++) {
        const local = await ask(url, 'both');
        assert.deepEqual([local.source, local.reason, local.provisional], ['edge', 'outbox-full', false]);
        const refused = await fetch(`${url}/v1/infer/far`, { method: 'POST', body: goodPicture() });
        const failed = result.parse(await refused.json());
        assert.equal(isFailure(failed) && failed.error.code, 'DISK_FULL');
        assert.equal(refused.status, 507);
        assert.equal(refused.headers.get('retry-after'), '1');
      }
      assert.ok(owed.length < 2 * ACCEPTED, 'the disk is not full');
      const ready = await fetch(`${url}/readyz`);
      assert.equal(ready.status, 503);
      assert.match(await ready.text(), /the disk of .* has \d+ bytes free, \d+ are to stay/);
      assert.equal((await state()).outbox.entries, owed.length);
    },
  );

  await t.test('what was accepted is answered when the hub is back, the disk still full', async () => {
    hub = await startHub();
    await eventually(
      async () => (await state()).outbox.entries === 0,
      'acknowledgements do not go with a full disk',
    );
    for (const id of owed) {
      const final = answer.parse(await (await fetch(`${url}/v1/results/${id}`)).json());
      assert.deepEqual([final.source, final.provisional], ['cloud', false]);
    }
    assert.ok(isAlive(agent.process.pid!));
  });

  await t.test('with space again everything is as before, the log too', async () => {
    rmSync(join(disk, 'filler'));
    // As `Retry-After` has said: a full disk is looked at once a second.
    await eventually(async () => {
      const asked = await fetch(`${url}/v1/infer/far?route=cloud`, { method: 'POST', body: goodPicture() });
      return asked.ok && answer.parse(await asked.json()).source === 'cloud';
    }, 'nothing is accepted');
    await eventually(async () => (await state()).outbox.entries === 0, 'the outbox did not empty');
    assert.equal((await ask(url, 'both')).source, 'cloud');
    // The log is opened again a second after its last failure.
    await delay(1_100);
    const before = timesOffline();
    await stop(hub);
    await eventually(() => timesOffline() > before, 'the log has not recovered');
  });

  await t.test('after a restart nothing is owed twice', async () => {
    await stop(agent);
    hub = await startHub();
    const again = outrider(t, [
      'agent',
      '--config',
      config,
      '--data',
      disk,
      '--models',
      models,
      '--agent-port',
      String(agentPort),
    ]);
    await again.says(/^agent gate: /m);
    assert.equal((await state()).outbox.entries, 0);
    await stop(again);
    await stop(hub);
  });
});

test('a read-only disk is called that, not a folder that is not there', async (t) => {
  const disk = mountSmallDisk(t);
  execFileSync('mount', ['-o', 'remount,ro', disk]);
  const config = join(await temporaryFolder(t), 'outrider.yaml');
  writeFileSync(config, 'pipelines:\n  - { name: text, task: text-classification, cloud: big }\n');
  const agent = outrider(t, ['agent', '--config', config, '--data', join(disk, 'data')]);
  assert.equal((await agent.exited).code, 1);
  assert.match(agent.output(), /data: the file system is read-only \(EROFS, mkdir\) \(ACCESS_DENIED\)\n$/);
});

function mountSmallDisk(t: TestContext): string {
  const disk = mkdtempSync(join(tmpdir(), 'outrider-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk]);
  t.after(() => {
    // Lazily: a program that a failed test left behind may hold it a moment longer.
    execFileSync('umount', ['--lazy', disk]);
    rmdirSync(disk);
  });
  return disk;
}

/** Writes until nothing more goes in, not even a byte. */
function fill(path: string): void {
  for (let bytes = 64 * 1024; bytes >= 1; ) {
    try {
      appendFileSync(path, Buffer.alloc(bytes, 1));
    } catch (error) {
      assert.equal(systemCode(error), 'ENOSPC');
      bytes = Math.floor(bytes / 2);
    }
  }
}

async function ask(url: string, pipeline: string): Promise<Answer> {
  const response = await fetch(`${url}/v1/infer/${pipeline}?route=cloud`, {
    method: 'POST',
    body: goodPicture(),
  });
  return answer.parse(await response.json());
}

async function stop(program: Program): Promise<void> {
  program.process.kill('SIGTERM');
  assert.equal((await program.exited).code, 0);
}

async function tokenOf(hub: string, data: string): Promise<string> {
  const key = readFileSync(join(data, 'hub', 'admin.key'), 'utf8').trim();
  const response = await fetch(`${hub}/api/v1/enrollment-tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: '{}',
  });
  return enrollmentToken.parse(await response.json()).token;
}
