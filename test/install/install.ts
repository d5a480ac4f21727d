/**
 * What a person does with an empty Debian and a hub: the line of `devices enroll`, upgrades that go well and that don't, and the way
 * back to an empty machine; with a real systemd, real users and the release of this checkout.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { VERSION } from '../../shared/runtime/version.ts';
import { packRelease } from '../support/small-release.ts';
import { bootMachine, type Machine } from './machine.ts';
import { makeRelease, otherRelease } from './releases.ts';

let work = '';
let release = '';
/** Archives as a hub serves them. */
let shelf = '';

before(async () => {
  work = await mkdtemp(join(tmpdir(), 'outrider-install-'));
  shelf = join(work, 'shelf');
  release = await makeRelease(shelf, work);
});
after(() => rm(work, { recursive: true, force: true }));

/** A hub in the machine itself, from a release that is not installed. */
async function startHub(machine: Machine, flags: string): Promise<void> {
  await cp(release, join(machine.root, 'srv/hub'), { recursive: true });
  await cp(shelf, join(machine.root, 'srv/releases'), { recursive: true });
  const tls = flags.includes('--tls own') ? 'https' : 'http';
  await machine.start(
    `cd /srv && hub/bin/outrider hub --data /srv/data --models /srv/hub/models --releases /srv/releases ${flags} > /srv/hub.log 2>&1`,
  );
  await machine.until(`curl -fsSk ${tls}://127.0.0.1:8080/readyz`);
}

/** The line that `devices enroll` prints. */
async function lineFor(machine: Machine, id: string): Promise<string> {
  const said = await machine.must(`cd /srv && hub/bin/outrider devices enroll ${id} --data /srv/data`);
  const line = /^ {2}(.*install\.sh.*)$/m.exec(said)?.[1];
  assert.ok(line, said);
  return line;
}

const isOnline = (id: string): string =>
  `cd /srv && hub/bin/outrider devices ls --data /srv/data --json | grep -A3 '"id": "${id}"' | grep -q '"online": true'`;

const answers = `curl -fsS --data-binary @/opt/outrider/current/models/demo/pictures/cat-0230.jpg http://127.0.0.1:8090/v1/infer/vision | grep -q '"label":"cat"'`;

test('the unit and the install script have nothing to complain about', async () => {
  const unit = join(work, 'outrider-agent.service');
  const text = await readFile('deploy/systemd/outrider-agent.service', 'utf8');
  // What it starts is not on this machine.
  await writeFile(
    unit,
    text.replace('/opt/outrider/current/bin/outrider', '/bin/true').replace(/^Documentation=.*$/m, ''),
  );
  const verified = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
  assert.deepEqual([verified.status, verified.stderr], [0, '']);
  const security = spawnSync('systemd-analyze', ['security', '--offline=yes', '--threshold=25', unit], {
    encoding: 'utf8',
  });
  assert.equal(security.status, 0, security.stdout.split('\n').slice(-3).join('\n'));
  const updates = ['outrider-update.service', 'outrider-update-boot.service', 'outrider-update.path'];
  for (const name of updates) {
    const own = await readFile(join('deploy/systemd', name), 'utf8');
    await writeFile(
      join(work, name),
      own.replace('/opt/outrider/updater/bin/outrider', '/bin/true').replace(/^Documentation=.*$/m, ''),
    );
  }
  const found = spawnSync('systemd-analyze', ['verify', ...updates.map((name) => join(work, name))], {
    encoding: 'utf8',
  });
  assert.deepEqual([found.status, found.stderr], [0, '']);
  const script = join(work, 'install.sh');
  const variables = ["hub='x'", "ca_pem=''", "releases=''"].join('\n');
  await writeFile(script, `#!/bin/sh\n${variables}\n${await readFile('deploy/install.sh', 'utf8')}`);
  const checked = spawnSync('shellcheck', ['-s', 'sh', script], { encoding: 'utf8' });
  assert.deepEqual([checked.status, checked.stdout], [0, '']);
});

test('one line makes an empty machine a device that answers; again it changes nothing; nothing is left after a purge', async (t) => {
  const machine = await bootMachine(t);
  await startHub(machine, '');
  const line = await lineFor(machine, 'gate-01');
  assert.match(
    line,
    /^curl -fsSL http:\/\/127\.0\.0\.1:8080\/install\.sh \| sudo sh -s -- --token \S+ --device gate-01$/,
  );
  const said = await machine.must(line);
  assert.match(said, /made {5}user outrider/);
  assert.match(said, new RegExp(`Outrider ${VERSION} is installed and runs`));
  await machine.until(isOnline('gate-01'));
  await machine.until(answers);
  const status = await machine.must('outrider agent status');
  assert.match(status, /service +ok +active \(running\)/);
  assert.match(status, /link +ok +online, hub http:\/\/127\.0\.0\.1:8080/);
  assert.match(await machine.must('outrider agent logs -n 20'), /agent gate-01: http:\/\/127\.0\.0\.1:8090/);
  // Its own user, and what is the service's is nobody else's.
  assert.match(
    await machine.must('stat -c %U /proc/$(systemctl show outrider-agent -p MainPID --value)'),
    /^outrider/,
  );
  assert.match(
    await machine.must('stat -c %a:%U /var/lib/outrider /var/lib/outrider/agent'),
    /^700:outrider\n700:outrider\n$/,
  );
  assert.equal((await machine.run('ls /var/lib/outrider/agent/enroll.token')).code, 2);

  const pid = await machine.must('systemctl show outrider-agent -p MainPID');
  const again = await machine.must(line);
  assert.match(again, /is here already/);
  assert.doesNotMatch(again, /^(made|changed|removed|started)/m);
  assert.equal(await machine.must('systemctl show outrider-agent -p MainPID'), pid);

  const gone = await machine.must('outrider agent uninstall');
  assert.match(gone, /What stays: \/etc\/outrider, \/var\/lib\/outrider\./);
  assert.equal((await machine.run('systemctl is-active outrider-agent')).code, 3);
  // It is the same device when it comes back, without a token.
  await machine.must('curl -fsSL http://127.0.0.1:8080/install.sh | sudo sh');
  await machine.until(isOnline('gate-01'));
  await machine.must('outrider agent uninstall --purge');
  const left =
    'find / -xdev -path /srv -prune -o -path /proc -prune -o -path /var/log -prune -o -name "*outrider*" -print; getent passwd outrider';
  assert.equal((await machine.run(left)).output.replace(/^\/tmp\/.*\n/gm, ''), '');
});

test('a hub with an authority of its own is known by its digest, and a stranger in its place installs nothing', async (t) => {
  const machine = await bootMachine(t);
  await startHub(machine, '--tls own');
  const line = await lineFor(machine, 'gate-02');
  assert.match(
    line,
    /curl -fsSk -o "\$ca" https:\/\/127\.0\.0\.1:8080\/ca\.pem && echo "[0-9a-f]{64} {2}\$ca" \| sha256sum -c --quiet && curl -fsSL --cacert/,
  );
  const forged = await machine.run(line.replace(/[0-9a-f]{64}(?= {2}\$ca)/, 'a'.repeat(64)));
  assert.notEqual(forged.code, 0);
  assert.equal((await machine.run('ls /opt/outrider')).code, 2);
  await machine.must(line);
  await machine.until(isOnline('gate-02'));
  await machine.until(answers);
});

test('an upgrade that does not come up goes back by itself; one that does keeps the version before', async (t) => {
  const machine = await bootMachine(t);
  const put = async (folder: string): Promise<string> => {
    const name = folder.split('/').at(-1) ?? '';
    await mkdir(join(machine.root, 'srv'), { recursive: true });
    await cp(folder, join(machine.root, 'srv', name), { recursive: true });
    return `/srv/${name}`;
  };
  await machine.must(`${await put(release)}/bin/outrider agent install --device gate-03`);
  await machine.until(answers);

  // A token is no reason to stand still.
  const refused = await machine.run('outrider agent install --token of-no-hub-at-all');
  assert.equal(refused.code, 1, refused.output);
  assert.match(refused.output, /needs the hub’s address[\s\S]*Without the token it runs/);
  await machine.until(answers);

  const dead = await otherRelease(release, {
    version: '9.0.0',
    files: { 'dist/agent.js': 'process.stderr.write("no agent at all\\n"); process.exit(1);' },
  });
  const failed = await machine.run(`${await put(dead)}/bin/outrider agent install`);
  assert.equal(failed.code, 1, failed.output);
  assert.match(failed.output, new RegExp(`Outrider 9\\.0\\.0 did not come up, and ${VERSION} runs again`));
  assert.match(failed.output, /no agent at all/);
  assert.match(failed.output, /\(SERVICE_FAILED\)/);
  assert.match(await machine.must('ls /opt/outrider'), new RegExp(`^${VERSION}\ncurrent\nupdater\n$`));
  await machine.until(answers);

  const newer = await otherRelease(release, { version: '9.1.0' });
  await packRelease(newer, join(work, 'packed'), { version: '9.1.0', platform: `linux-${process.arch}` });
  const archive = `outrider-9.1.0-linux-${process.arch}.tar.gz`;
  await cp(join(work, 'packed', archive), join(machine.root, 'srv', archive));
  const upgraded = await machine.must(`outrider agent install /srv/${archive}`);
  assert.match(
    upgraded,
    new RegExp(`Outrider 9\\.1\\.0 is installed and runs; outrider agent rollback goes back to ${VERSION}`),
  );
  assert.match(await machine.must('outrider --version'), /^9\.1\.0/);
  await machine.until(answers);
  assert.match(await machine.must('outrider agent rollback'), new RegExp(`Outrider ${VERSION} runs`));
  await machine.until(answers);
  assert.match(await machine.must('outrider --version'), new RegExp(`^${VERSION}`));
});

test('the hub updates the agent: a good version stays, one that does not come up and one that reaches no hub go back by themselves', async (t) => {
  const machine = await bootMachine(t);
  const platform = `linux-${process.arch}` as const;
  const made: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    '9.5.0': {},
    '9.6.0': { 'dist/agent.js': 'process.stderr.write("no agent at all\\n"); process.exit(1);' },
    // Ready, alive, and deaf.
    '9.7.0': {
      'dist/agent.js':
        'import { execFileSync } from "node:child_process"; const say = (...words) => execFileSync("systemd-notify", words); say("READY=1", "STATUS=1 pipelines"); setInterval(() => say("WATCHDOG=1", "STATUS=1 pipelines"), 15000);',
    },
    '9.8.0': {},
  };
  const shelves = join(work, 'updates');
  await mkdir(shelves, { recursive: true });
  for (const [version, files] of Object.entries(made)) {
    const folder = await otherRelease(release, { version, files });
    await packRelease(folder, shelves, { version, platform });
    await rm(folder, { recursive: true });
  }
  await startHub(machine, '');
  const hub = (words: string): Promise<string> =>
    machine.must(`cd /srv && hub/bin/outrider ${words} --data /srv/data`);
  const installed = await machine.must(await lineFor(machine, 'gate-05'));
  assert.match(installed, /made {5}the keys by which updates from the hub are checked/);
  await machine.until(isOnline('gate-05'));
  assert.match(
    await machine.must('systemctl show outrider-update.path -p ActiveState'),
    /ActiveState=active/,
  );
  // Root alone says what is verified by what.
  assert.match(
    await machine.must('stat -c %a:%U /var/lib/outrider-update /var/lib/outrider-update/root.json'),
    /^755:root\n644:root\n$/,
  );
  await hub(`releases deploy ${VERSION}`);
  const rollOut = async (version: string): Promise<string> => {
    const archive = `outrider-${version}-${platform}.tar.gz`;
    await cp(join(shelves, archive), join(machine.root, 'srv', archive));
    await hub(`releases push /srv/${archive}`);
    await machine.must(`rm /srv/${archive}`);
    await hub(`rollout start outrider-agent@${version} --min-time 0s`);
    await machine.until(
      `cd /srv && hub/bin/outrider rollout show outrider-agent --data /srv/data --json > /srv/rollout.json && grep -q '"version": "${version}"' /srv/rollout.json && grep -Eq '^  "state": "(done|rolled-back)"' /srv/rollout.json`,
      400_000,
    );
    return hub('rollout show outrider-agent');
  };

  assert.match(await rollOut('9.5.0'), /done/);
  assert.match(await machine.must('outrider --version'), /^9\.5\.0/);
  await machine.until(answers);
  assert.match(await hub('devices ls'), /gate-05 +online .*9\.5\.0/);

  const dead = await rollOut('9.6.0');
  assert.match(dead, /rolled-back/);
  assert.match(dead, /it does not come up[\s\S]*\(SERVICE_FAILED\)/);
  assert.match(await machine.must('outrider --version'), /^9\.5\.0/);
  await machine.until(answers);

  const deaf = await rollOut('9.7.0');
  assert.match(deaf, /did not reach the hub within a minute[\s\S]*\(UPDATE_LINK_LOST\)/);
  assert.match(await machine.must('outrider --version'), /^9\.5\.0/);
  await machine.until(isOnline('gate-05'));
  await machine.until(answers);
  assert.match(
    await machine.must('ls /opt/outrider'),
    new RegExp(`^${VERSION}\n9\\.5\\.0\ncurrent\nprevious\nupdater\n$`),
  );

  // What installs it is killed in the midst of a trial: the version before runs again, at once.
  const archive = `outrider-9.8.0-${platform}.tar.gz`;
  await cp(join(shelves, archive), join(machine.root, 'srv', archive));
  await hub(`releases push /srv/${archive}`);
  await hub('rollout start outrider-agent@9.8.0 --min-time 0s --on-failure hold');
  await machine.until('test -e /var/lib/outrider-update/trial.json');
  await machine.must('systemctl kill -s KILL --kill-who=main outrider-update.service');
  await machine.until('test ! -e /var/lib/outrider-update/trial.json');
  await machine.until(isOnline('gate-05'));
  assert.match(await machine.must('outrider --version'), /^9\.5\.0/);
  assert.match(await machine.must('cat /var/lib/outrider-update/outcome.json'), /UPDATE_INTERRUPTED/);

  // A power cut in the midst of one: before the agent is started the version before is put back.
  await hub('rollout rollback outrider-agent');
  await machine.must('systemctl stop outrider-agent outrider-update.path');
  const trial = {
    schema: 1,
    id: 'cut',
    version: '9.5.0',
    folder: '9.5.0',
    before: VERSION,
    beforeThat: null,
  };
  await writeFile(join(machine.root, 'var/lib/outrider-update/trial.json'), JSON.stringify(trial));
  await machine.must(`ln -sfn ${VERSION} /opt/outrider/updater`);
  await machine.must('systemctl start outrider-update-boot.service outrider-agent outrider-update.path');
  assert.match(await machine.must('outrider --version'), new RegExp(`^${VERSION}`));
  await machine.must(
    'test $(systemctl show outrider-update-boot.service -p ExecMainExitTimestampMonotonic --value) -le $(systemctl show outrider-agent -p ExecMainStartTimestampMonotonic --value)',
  );
  await machine.until(isOnline('gate-05'));
});

test('an agent that hangs is killed by the watchdog and comes back', async (t) => {
  const machine = await bootMachine(t);
  await cp(release, join(machine.root, 'srv/release'), { recursive: true });
  await machine.must('/srv/release/bin/outrider agent install --device gate-04');
  await machine.must(
    'mkdir -p /etc/systemd/system/outrider-agent.service.d && printf "[Service]\\nWatchdogSec=6\\nRestartSec=1\\n" > /etc/systemd/system/outrider-agent.service.d/t.conf && systemctl daemon-reload && systemctl restart outrider-agent',
  );
  // Signs of life are given: it outlives two watches.
  const at = (name: string): string =>
    `$(systemctl show outrider-agent -p ${name}TimestampMonotonic --value)`;
  await machine.until(`test $(( ${at('Watchdog')} - ${at('ActiveEnter')} )) -gt 13000000`);
  assert.match(await machine.must('systemctl show outrider-agent -p NRestarts'), /NRestarts=0/);
  const pid = (await machine.must('systemctl show outrider-agent -p MainPID --value')).trim();
  await machine.must(`kill -STOP ${pid}`);
  await machine.until(
    'systemctl show outrider-agent -p NRestarts | grep -q "=[1-9]" && systemctl is-active outrider-agent',
    60_000,
  );
  assert.match(await machine.must('journalctl -u outrider-agent --no-pager'), /Watchdog timeout/);
  await machine.until(answers);
});
