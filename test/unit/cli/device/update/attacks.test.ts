/** Offers of an agent that lies, and archives of somebody who would like to be root: each is refused, and the version that runs stays. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chown, cp, mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { unpack } from '../../../../../cli/device/update/unpack.ts';
import { TufRepository } from '../../../../../shared/release/tuf/repository.ts';
import { systemClock } from '../../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../../shared/runtime/logger.ts';
import { agentMachine, makeArchive } from '../../../../support/agent-machine.ts';
import { temporaryFolder } from '../../../../support/fixed.ts';

type Machine = Awaited<ReturnType<typeof agentMachine>>;

/** Nothing of it was installed, and why. */
async function refused(machine: Machine, code: string, why?: RegExp): Promise<void> {
  const done = await machine.apply();
  assert.equal(done?.error?.code, code, done?.error?.message);
  if (why) assert.match(done?.error?.message ?? '', why);
  assert.ok(done?.phase === 'refused' || done?.phase === 'in-the-way');
  assert.deepEqual(await machine.versions(), ['9.1.0', 'current', 'updater']);
  assert.deepEqual(machine.started, []);
}

test('what nobody has signed is not taken', async (t) => {
  const machine = await agentMachine(t);
  await machine.offer(await makeArchive(machine.folder, { version: '9.2.0' }));
  await refused(machine, 'UPDATE_NOT_LISTED');
});

test('what another hub has signed is not taken', async (t) => {
  const machine = await agentMachine(t);
  const { path, ...archive } = await makeArchive(machine.folder, { version: '9.2.0' });
  const folder = join(machine.folder, 'stranger');
  const stranger = await TufRepository.open({ folder, clock: systemClock, logger: silentLogger });
  await stranger.listArchives([archive]);
  await machine.offer({ ...archive, path });
  await rm(machine.paths.metadata, { recursive: true });
  await cp(join(folder, 'metadata'), machine.paths.metadata, { recursive: true });
  await refused(machine, 'UPDATE_UNTRUSTED');
});

test('the archive of another platform is not for this machine', async (t) => {
  const machine = await agentMachine(t);
  const other = process.arch === 'x64' ? 'linux-arm64' : 'linux-x64';
  await machine.offer(await machine.release({ version: '9.2.0', platform: other }));
  await refused(machine, 'UPDATE_NOT_LISTED', /for linux-/);
});

test('older metadata than this machine has seen do not count', async (t) => {
  const machine = await agentMachine(t);
  const release = await machine.release({ version: '9.2.0' });
  await machine.offer(release);
  const before = join(machine.folder, 'before');
  await cp(machine.paths.metadata, before, { recursive: true });
  await machine.repository.delistArchives(['9.2.0']);
  await machine.offer(release);
  await refused(machine, 'UPDATE_NOT_LISTED');
  await machine.offer(release);
  await rm(machine.paths.metadata, { recursive: true });
  await cp(before, machine.paths.metadata, { recursive: true });
  await refused(machine, 'UPDATE_OLDER');
});

test('an archive that is torn, longer, or another one is not what was signed', async (t) => {
  const machine = await agentMachine(t);
  const release = await machine.release({ version: '9.2.0' });
  const other = await makeArchive(machine.folder, { version: '9.2.0', say: 'evil' });
  const lies = [
    (path: string) => truncate(path, 100),
    (path: string) => writeFile(path, Buffer.alloc(release.bytes + 1)),
    async (path: string) => writeFile(path, await readFile(other.path)),
    (path: string) => rm(path),
  ];
  for (const lie of lies) {
    await machine.offer(release);
    await lie(machine.blobs.path(release.sha256));
    await refused(machine, 'RELEASE_INVALID');
    await rm(machine.blobs.path(release.sha256), { force: true });
  }
});

test('links, folders and files of others in the place of what is offered lead nowhere', async (t) => {
  const machine = await agentMachine(t);
  const release = await machine.release({ version: '9.2.0' });
  const archive = machine.blobs.path(release.sha256);
  await machine.offer(release);
  await rm(archive);
  await symlink(release.path, archive);
  await refused(machine, 'RELEASE_INVALID', /no plain file/);
  await rm(archive);
  await machine.offer(release);
  await rm(archive);
  await promisify(execFile)('mkfifo', [archive]);
  await refused(machine, 'RELEASE_INVALID', /no plain file/);
  await rm(archive);
  // An offer that is no file, or of no form that we know, is none.
  for (const lie of [
    () => mkdir(machine.paths.ready),
    () => symlink('/etc/passwd', machine.paths.ready),
    () => writeFile(machine.paths.ready, '{"schema":1,"id":"a","version":"../../etc"}'),
    () => writeFile(machine.paths.ready, Buffer.alloc(200_000, 0x20)),
  ]) {
    await rm(machine.paths.ready, { recursive: true, force: true });
    await lie();
    assert.equal(await machine.apply(), undefined);
  }
  if (process.getuid?.() !== 0) return;
  // As root it could read everybody's.
  await rm(machine.paths.ready, { recursive: true, force: true });
  await machine.offer(release);
  await chown(machine.place.data, 12_345, 12_345);
  assert.equal(await machine.apply(), undefined);
  await chown(machine.paths.ready, 12_345, 12_345);
  await refused(machine, 'RELEASE_INVALID', /no plain file of the agent’s user/);
});

test('a machine that keeps no root of its own takes nothing', async (t) => {
  const machine = await agentMachine(t);
  await machine.offer(await machine.release({ version: '9.2.0' }));
  await rm(machine.paths.root);
  await refused(machine, 'UPDATE_UNTRUSTED', /sudo outrider agent install/);
});

test('a release that could not be updated any more is left to people', async (t) => {
  const machine = await agentMachine(t);
  await machine.offer(
    await machine.release({ version: '9.2.0', without: ['deploy/systemd/outrider-update.service'] }),
  );
  await refused(machine, 'RELEASE_INVALID', /could not be updated any more/);
});

test('what is signed as one release and is another one is refused', async (t) => {
  const machine = await agentMachine(t);
  await machine.offer(await machine.release({ version: '9.2.0' }, { manifestSha256: 'a'.repeat(64) }));
  await refused(machine, 'RELEASE_INVALID', /is not the release 9\.2\.0 that was signed/);
});

test('no room for both is said before anything is unpacked', async (t) => {
  const machine = await agentMachine(t);
  await machine.offer(await machine.release({ version: '9.2.0' }, { unpackedBytes: 4 * 1024 ** 3 }));
  const done = await machine.apply();
  // A machine with room takes it to be a release that is not what was signed for.
  if (done?.phase !== 'committed') assert.equal(done?.error?.code, 'DISK_FULL');
});

interface Entry {
  readonly name: string;
  readonly type?: string;
  readonly link?: string;
  readonly content?: string;
  readonly size?: number;
}

/** A tar archive (ustar) as somebody writes it by hand. */
function tar(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(({ name, type = '0', link = '', content = '', size = content.length }) => {
    const head = Buffer.alloc(512);
    head.write(name, 0);
    head.write('0000644\0', 100);
    head.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
    head.write('        ', 148);
    head.write(type, 156);
    head.write(link, 157);
    head.write('ustar\x0000', 257);
    const sum = head.reduce((all, byte) => all + byte, 0);
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
    body.write(content);
    return [head, body];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

test('an archive leads nowhere but into its folder, and to no more than was signed', async (t) => {
  const folder = await temporaryFolder(t);
  const tries: [string, Buffer, RegExp][] = [
    ['a way up', tar([{ name: 'top/../../evil', content: 'x' }]), /path out of its folder/],
    ['an absolute path', tar([{ name: '/etc/evil', content: 'x' }]), /path out of its folder/],
    ['two folders', tar([{ name: 'top/a' }, { name: 'other/b' }]), /path out of its folder/],
    ['a link', tar([{ name: 'top/a', type: '2', link: '/etc' }]), /neither file nor folder/],
    ['a hard link', tar([{ name: 'top/a', type: '1', link: '/etc/passwd' }]), /neither file nor folder/],
    ['a device', tar([{ name: 'top/a', type: '3' }]), /neither file nor folder/],
    [
      'a file twice',
      tar([
        { name: 'top/a', content: 'x' },
        { name: 'top/a', content: 'y' },
      ]),
      /cannot be unpacked/,
    ],
    ['a bomb', gzipSync(Buffer.alloc(80 * 1024 * 1024)), /./],
    ['a file that says it is larger', tar([{ name: 'top/a', content: 'x', size: 100_000 }]), /torn/],
    ['a file of 200 MB of nothing', bomb(), /unpacks to over/],
    ['no tar', gzipSync('what is this?'.repeat(100)), /no tar archive/],
    ['no gzip', Buffer.from('what is this?'), /cannot be unpacked/],
    ['torn', tar([{ name: 'top/a', content: 'x'.repeat(5_000) }]).subarray(0, 60), /torn|cannot be unpacked/],
  ];
  for (const [what, bytes, why] of tries) {
    const archive = join(folder, 'archive.tar.gz');
    await writeFile(archive, bytes);
    const to = join(folder, 'to', createHash('sha256').update(what).digest('hex'));
    await mkdir(dirname(to), { recursive: true });
    await unpack(archive, to, 1_000).then(
      () => assert.equal(what, 'a bomb', `${what} was taken`),
      (error: unknown) => {
        assert.ok(isAppError(error, 'RELEASE_INVALID'), `${what}: ${String(error)}`);
        assert.match(error.message, why, what);
      },
    );
    await assert.rejects(readFile(join(folder, 'evil')), what);
  }
});

/** Small on the wire, large on the disk. */
function bomb(): Buffer {
  const [head] = [tar([{ name: 'top/a', size: 200 * 1024 * 1024 }])];
  return Buffer.concat([head, gzipSync(Buffer.alloc(200 * 1024 * 1024))]);
}
