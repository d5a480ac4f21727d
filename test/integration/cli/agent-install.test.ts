/** `outrider agent install` and its sisters as they are typed, into the root of an image: what a live machine does beside is in test/install. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, lstat, mkdir, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { Authority } from '../../../shared/runtime/authority.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { outrider } from '../../support/programs.ts';
import { smallRelease } from '../../support/small-release.ts';

const run = promisify(execFile);
const TOKEN = 'a-token-that-nobody-may-see';

async function agent(
  t: TestContext,
  args: readonly string[],
  input?: string,
): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, ['agent', ...args], { ...(input !== undefined && { input }) });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

interface Json {
  readonly version: string;
  readonly previous: string | null;
  readonly service: string;
  readonly steps: readonly { readonly did: string; readonly what: string }[];
}

test('installs into an image: a version, its configuration, its unit, its token, and nothing twice', async (t) => {
  const folder = await temporaryFolder(t);
  const release = await smallRelease(join(folder, 'release'));
  const root = join(folder, 'root');
  const args = [
    'install',
    release,
    '--root',
    root,
    '--hub',
    'https://hub.example.com:8080',
    '--device',
    'gate-01',
    '--token',
    '-',
  ];
  const made = await agent(t, args, `${TOKEN}\n`);
  assert.equal(made.code, 0, made.output);
  assert.ok(!made.output.includes(TOKEN));
  assert.equal(await readlink(join(root, 'opt/outrider/current')), '9.1.0');
  assert.equal(await readlink(join(root, 'usr/local/bin/outrider')), '/opt/outrider/current/bin/outrider');
  const installed = join(root, 'opt/outrider/9.1.0');
  assert.deepEqual((await run(join(installed, 'bin/outrider'))).stdout, '9.1.0\n');
  const config = await readFile(join(root, 'etc/outrider/outrider.yaml'), 'utf8');
  assert.match(config, /^device: gate-01\nhub:\n {2}url: https:\/\/hub\.example\.com:8080\n/m);
  assert.match(
    config,
    /name: vision\n {4}task: image-classification\n {4}edge: cifar10-cnn\n {4}cloud: cifar10-vit\n/,
  );
  const token = join(root, 'var/lib/outrider/agent/enroll.token');
  assert.equal(await readFile(token, 'utf8'), `${TOKEN}\n`);
  assert.equal((await stat(token)).mode & 0o777, 0o600);
  assert.equal((await stat(join(root, 'var/lib/outrider'))).mode & 0o777, 0o700);
  const unit = join(root, 'etc/systemd/system/outrider-agent.service');
  assert.match(
    await readFile(unit, 'utf8'),
    /^ExecStart=\/opt\/outrider\/current\/bin\/outrider agent --config \/etc\/outrider\/outrider\.yaml --data \/var\/lib\/outrider /m,
  );
  const wanted = join(root, 'etc/systemd/system/multi-user.target.wants/outrider-agent.service');
  assert.equal(join(dirname(wanted), await readlink(wanted)), unit);
  assert.match(await readFile(join(root, 'etc/sysusers.d/outrider.conf'), 'utf8'), /^u outrider - /);

  const before = await lstat(join(installed, 'bin/outrider'));
  await writeFile(join(root, 'etc/outrider/outrider.yaml'), '# mine\n');
  const again = await agent(t, ['install', release, '--root', root, '--json']);
  const { steps, ...facts } = JSON.parse(again.output) as Json;
  assert.deepEqual(
    steps.filter(({ did }) => did !== 'kept').map(({ did }) => did),
    ['skipped'],
  );
  assert.deepEqual([facts.version, facts.previous, facts.service], ['9.1.0', null, 'not started']);
  assert.equal((await lstat(join(installed, 'bin/outrider'))).ino, before.ino);
  assert.equal(await readFile(join(root, 'etc/outrider/outrider.yaml'), 'utf8'), '# mine\n');
});

test('the configuration that it writes is one that the agent takes, with other folders, too', async (t) => {
  const folder = await temporaryFolder(t);
  const release = await smallRelease(join(folder, 'release'));
  const root = join(folder, 'root');
  const elsewhere = ['--config', '/srv/edge/outrider.yaml', '--data', '/srv/edge/data'];
  const tls = join(folder, 'tls');
  await Authority.open({ folder: tls, names: [], clock: systemClock, logger: silentLogger });
  const ca = join(tls, 'ca.pem');
  const trust = ['--hub', 'http://hub.lan:8080', '--insecure-plain-text', '--ca', ca];
  const made = await agent(t, ['install', release, '--root', root, ...elsewhere, ...trust]);
  assert.equal(made.code, 0, made.output);
  const unit = await readFile(join(root, 'etc/systemd/system/outrider-agent.service'), 'utf8');
  assert.match(unit, / --config \/srv\/edge\/outrider\.yaml --data \/srv\/edge\/data /);
  assert.match(unit, /^ReadWritePaths=\/srv\/edge\/data$/m);
  assert.match(unit, /^WorkingDirectory=\/srv\/edge\/data$/m);
  assert.doesNotMatch(unit, /^StateDirectory/m);
  const { loadConfig } = await import('../../../agent/config.ts');
  const config = await loadConfig(['--config', join(root, 'srv/edge/outrider.yaml')], {});
  assert.ok(config !== 'help');
  assert.deepEqual(
    [config.hubUrl, config.insecurePlainText, config.pipelines.length],
    ['http://hub.lan:8080', true, 1],
  );
  assert.match(config.hubCa ?? '', /BEGIN CERTIFICATE/);
  // An upgrade and an uninstall find both by themselves.
  const newer = await smallRelease(join(folder, 'newer'), { version: '9.2.0' });
  const again = await agent(t, ['install', newer, '--root', root, '--json']);
  assert.equal(again.code, 0, again.output);
  assert.equal(await readFile(join(root, 'etc/systemd/system/outrider-agent.service'), 'utf8'), unit);
  assert.ok(!existsSync(join(root, 'etc/outrider')) && !existsSync(join(root, 'var')));
  const gone = await agent(t, ['uninstall', '--root', root, '--json']);
  assert.deepEqual((JSON.parse(gone.output) as { stays: string[] }).stays, [
    join(root, 'srv/edge'),
    join(root, 'srv/edge/data'),
  ]);
});

test('an upgrade keeps the version before and removes older ones; the same number made again lies beside it', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  const versions = async (): Promise<string[]> => (await readdir(join(root, 'opt/outrider'))).sort();
  for (const version of ['9.1.0', '9.2.0', '9.3.0']) {
    const release = await smallRelease(join(folder, version), { version });
    const made = await agent(t, ['install', release, '--root', root]);
    assert.equal(made.code, 0, made.output);
  }
  assert.deepEqual(await versions(), ['9.2.0', '9.3.0', 'current', 'previous', 'updater']);
  assert.equal(await readlink(join(root, 'opt/outrider/previous')), '9.2.0');
  const other = await smallRelease(join(folder, 'other'), { version: '9.3.0', say: 'made again' });
  const archive = join(folder, 'outrider-9.3.0.tar.gz');
  await run('tar', ['-C', folder, '-czf', archive, 'other']);
  const made = await agent(t, ['install', archive, '--root', root, '--json']);
  assert.equal((JSON.parse(made.output) as Json).previous, '9.3.0', made.output);
  const [first, second, ...links] = await versions();
  assert.deepEqual(
    [first, second?.slice(0, 6), links],
    ['9.3.0', '9.3.0+', ['current', 'previous', 'updater']],
  );
  assert.equal((await run(join(root, 'opt/outrider/current/bin/outrider'))).stdout, 'made again\n');
  await stat(other);
});

test('a version whose files a card has forgotten is put there again', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  const release = await smallRelease(join(folder, 'release'));
  await agent(t, ['install', release, '--root', root]);
  const damaged = join(root, 'opt/outrider/9.1.0/bin/outrider.mjs');
  await rm(damaged);
  await writeFile(damaged, '');
  const again = await agent(t, ['install', release, '--root', root, '--json']);
  assert.ok(
    (JSON.parse(again.output) as Json).steps.some(
      ({ did, what }) => did === 'made' && /version 9\.1\.0/.test(what),
    ),
  );
  assert.equal(await readFile(damaged, 'utf8'), await readFile(join(release, 'bin/outrider.mjs'), 'utf8'));
});

test('what is no release, not whole or not for here is refused before anything is made', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  const refused = async (source: string, why: RegExp): Promise<void> => {
    const { code, output } = await agent(t, ['install', source, '--root', root]);
    assert.match(output, why);
    assert.match(output, /\(RELEASE_INVALID\)/);
    assert.equal(code, 1);
    assert.ok(!existsSync(join(root, 'opt/outrider/current')) && !existsSync(join(root, 'etc/outrider')));
  };
  await refused(process.cwd(), /is no release, it has no manifest\.json: make one with outrider release/);
  await refused(join(folder, 'nowhere'), /there is no release at/);
  const torn = await smallRelease(join(folder, 'torn'));
  await appendFile(join(torn, 'bin/outrider.mjs'), '// and more');
  await refused(torn, /bin\/outrider\.mjs differs from its manifest/);
  const outside = await smallRelease(join(folder, 'outside'));
  const manifest = join(outside, 'manifest.json');
  await writeFile(manifest, (await readFile(manifest, 'utf8')).replace('bin/outrider.mjs', '../../evil'));
  await refused(outside, /is no manifest of this program/);
  const archive = join(folder, 'no.tar.gz');
  await writeFile(archive, 'no archive');
  await refused(archive, /cannot be unpacked/);
  await writeFile(`${archive}.sha256`, `${'0'.repeat(64)}  no.tar.gz\n`);
  await refused(archive, /differs from the digest in/);
  assert.deepEqual(existsSync(join(root, 'opt')) ? await readdir(join(root, 'opt/outrider')) : [], []);
});

test('what is asked for wrongly is said', async (t) => {
  const root = await temporaryFolder(t);
  const says = async (args: readonly string[], why: RegExp): Promise<void> => {
    const { code, output } = await agent(t, args);
    assert.match(output, why);
    assert.equal(code, 2, output);
  };
  const release = await smallRelease(join(root, 'release'));
  await says(
    ['install', release, '--root', root, '--hub', 'hub:8080'],
    /--hub hub:8080 is no address \(USAGE\)/,
  );
  await says(['install', release, '--root', root, '--data', 'data'], /data: an absolute path/);
  await says(
    ['install', release, '--root', root, '--token', 'two words'],
    /no token of outrider devices enroll/,
  );
  await says(['install', '--speed'], /unknown option '--speed'/);
  await says(['logs', '-n', 'many'], /-n wants a number of lines/);
});

test('uninstall leaves configuration and data, and takes them as well when told so', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  const release = await smallRelease(join(folder, 'release'));
  await agent(t, ['install', release, '--root', root]);
  await mkdir(join(root, 'var/lib/outrider/agent'), { recursive: true });
  const { code, output } = await agent(t, ['uninstall', '--root', root]);
  assert.equal(code, 0, output);
  assert.match(output, /What stays: .*etc\/outrider, .*var\/lib\/outrider\./);
  const there = ['opt/outrider', 'usr/local/bin/outrider', 'etc/systemd/system/outrider-agent.service'];
  assert.deepEqual(
    there.filter((path) => existsSync(join(root, path))),
    [],
  );
  assert.ok(existsSync(join(root, 'etc/outrider/outrider.yaml')));
  const purged = await agent(t, ['uninstall', '--purge', '--root', root]);
  assert.match(purged.output, /Nothing of Outrider is left\./);
  assert.deepEqual(
    [await readdir(join(root, 'etc')), await readdir(join(root, 'var/lib'))]
      .flat()
      .filter((name) => name === 'outrider'),
    [],
  );
});

test('what puts updates into place is installed with the agent, and takes back what was not confirmed', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  for (const version of ['9.1.0', '9.2.0'])
    await agent(t, ['install', await smallRelease(join(folder, version), { version }), '--root', root]);
  const units = join(root, 'etc/systemd/system');
  const service = await readFile(join(units, 'outrider-update.service'), 'utf8');
  assert.match(
    service,
    /^ExecStart=\/opt\/outrider\/updater\/bin\/outrider agent apply-update --data \/var\/lib\/outrider$/m,
  );
  const watched = await readFile(join(units, 'outrider-update.path'), 'utf8');
  assert.match(watched, /^PathChanged=\/var\/lib\/outrider\/agent\/self-update\/ready\.json$/m);
  for (const name of ['outrider-update.path', 'outrider-update-boot.service'])
    assert.equal(await readlink(join(units, 'multi-user.target.wants', name)), `../${name}`);

  // As after a power cut in the midst of a trial.
  const trial = join(root, 'var/lib/outrider-update/trial.json');
  await mkdir(dirname(trial), { recursive: true });
  const parts = { id: 'a', version: '9.2.0', folder: '9.2.0', before: '9.1.0', beforeThat: null };
  await writeFile(trial, JSON.stringify({ schema: 1, ...parts }));
  const refused = await agent(t, ['install', join(folder, '9.2.0'), '--root', root]);
  assert.match(refused.output, /an update from the hub is on trial here[\s\S]*\(INSTALL_IMPOSSIBLE\)/);
  const done = await agent(t, ['apply-update', '--after-boot', '--root', root]);
  assert.equal(done.code, 0, done.output);
  assert.match(done.output, /9\.2\.0: rolled-back \(.*UPDATE_INTERRUPTED\)/);
  assert.equal(await readlink(join(root, 'opt/outrider/current')), '9.1.0');
  assert.ok(!existsSync(trial) && !existsSync(join(root, 'opt/outrider/9.2.0')));
  const again = await agent(t, ['apply-update', '--root', root]);
  assert.deepEqual([again.code, again.output], [0, '']);
  await agent(t, ['uninstall', '--purge', '--root', root]);
  assert.deepEqual(await readdir(units), ['multi-user.target.wants']);
});
