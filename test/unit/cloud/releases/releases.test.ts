/** Releases for devices: which archives of a folder are served, how, and the script that fetches them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { installScript } from '../../../../cloud/api/device/install-script.ts';
import { ReleaseFolder } from '../../../../cloud/releases/release-folder.ts';
import { releaseList } from '../../../../shared/contract/releases.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { asker, startHubApi } from '../../../support/hub-api.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { packRelease, smallRelease } from '../../../support/small-release.ts';

/** Archives are made by GNU tar. */
const LINUX = { skip: process.platform === 'linux' ? false : 'needs GNU tar' };

async function packed(
  t: TestContext,
  releases: readonly { version: string; platform: string }[],
): Promise<string> {
  const folder = await temporaryFolder(t);
  const out = join(folder, 'releases');
  await mkdir(out);
  for (const one of releases) {
    const made = await smallRelease(join(folder, `${one.version}-${one.platform}`), one);
    await packRelease(made, out, one);
  }
  return out;
}

const X64 = { version: '9.9.0', platform: 'linux-x64' };
const NAME = 'outrider-9.9.0-linux-x64.tar.gz';

test(
  'lists whole archives, newest first, with what is in them; looks again at what has changed',
  LINUX,
  async (t) => {
    const out = await packed(t, [
      X64,
      { version: '9.10.0-rc.1', platform: 'linux-x64' },
      { version: '9.10.0', platform: 'linux-x64' },
      { version: '9.10.0beta', platform: 'linux-x64' },
      { version: '9.9.0', platform: 'linux-arm64' },
    ]);
    const logger = recordingLogger();
    const shelf = new ReleaseFolder(out, logger);
    const listed = await shelf.list();
    assert.deepEqual(
      listed.map(({ version, platform, node }) => [platform, version, node]),
      [
        // The script that installs takes the first one: a release, not what came before it, nor what has no order.
        ['linux-x64', '9.10.0', '24.0.0'],
        ['linux-x64', '9.10.0-rc.1', '24.0.0'],
        ['linux-x64', '9.9.0', '24.0.0'],
        ['linux-x64', '9.10.0beta', '24.0.0'],
        ['linux-arm64', '9.9.0', '24.0.0'],
      ],
    );
    const manifest = await readFile(join(out, '../9.9.0-linux-x64/manifest.json'));
    assert.equal(listed[2]?.manifestSha256, sha256Hex(manifest));
    await appendFile(join(out, NAME), 'more');
    assert.equal((await shelf.list()).length, 4);
    await shelf.list();
    assert.deepEqual(logger.failures(), ['releases.not_served RELEASE_INVALID']);
  },
);

test(
  'a folder that is not there, links, archives without a digest or of something else are no releases',
  LINUX,
  async (t) => {
    const logger = recordingLogger();
    assert.deepEqual(await new ReleaseFolder('/nowhere/at/all', logger).list(), []);
    const out = await packed(t, [X64]);
    const shelf = new ReleaseFolder(out, logger);
    await rename(join(out, NAME), join(out, '../elsewhere.tar.gz'));
    await symlink('../elsewhere.tar.gz', join(out, NAME));
    const put = async (name: string, content: Uint8Array | string): Promise<void> => {
      await writeFile(join(out, name), content);
      await writeFile(join(out, `${name}.sha256`), `${sha256Hex(content)}  ${name}\n`);
    };
    await put('outrider-1.0.0-linux-arm64.tar.gz', 'no archive');
    const other = join(out, '../other.tar.gz');
    await promisify(execFile)('tar', ['-C', '/', '-czf', other, 'etc/hostname']);
    await put('outrider-2.0.0-linux-arm64.tar.gz', await readFile(other));
    await writeFile(join(out, 'outrider-3.0.0-linux-arm64.tar.gz'), 'still comes');
    await put('else.tar.gz', 'else');
    assert.deepEqual(await shelf.list(), []);
    assert.equal(logger.failures().length, 4);
    assert.equal(await shelf.find(NAME), undefined);
  },
);

test('the hub lists and sends them, whole or a range, and nothing beside them', LINUX, async (t) => {
  const releasesDir = await packed(t, [X64]);
  const hub = await startHubApi({ releasesDir });
  t.after(() => hub.stop());
  const { releases } = releaseList.parse(await (await hub.app.request('/releases')).json());
  const content = await readFile(join(releasesDir, NAME));
  assert.deepEqual(
    releases.map(({ file, bytes, sha256 }) => ({ file, bytes, sha256 })),
    [{ file: NAME, bytes: content.length, sha256: sha256Hex(content) }],
  );
  const whole = await hub.app.request(`/releases/${NAME}`);
  assert.equal(whole.headers.get('content-length'), String(content.length));
  assert.deepEqual(Buffer.from(await whole.arrayBuffer()), content);
  const part = await hub.app.request(`/releases/${NAME}`, { headers: { range: 'bytes=10-19' } });
  assert.equal(part.status, 206);
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), content.subarray(10, 20));
  for (const path of [`${NAME}.sha256`, '..%2f..%2fadmin.key', '%2e%2e/admin.key', 'nothing', `${NAME}%00`])
    assert.equal((await hub.app.request(`/releases/${path}`)).status, 404, path);
});

test(
  'the install script names the hub as it was reached, or as it is configured, and lets nothing in',
  LINUX,
  async (t) => {
    const releasesDir = await packed(t, [X64]);
    const hub = await startHubApi({ releasesDir });
    t.after(() => hub.stop());
    const shown = await hub.app.request('http://hub.lan:8080/install.sh');
    assert.equal(shown.headers.get('content-type'), 'text/x-shellscript; charset=utf-8');
    const script = await shown.text();
    assert.match(
      script,
      /^#!\/bin\/sh\nhub='http:\/\/hub\.lan:8080'\nca_pem=''\nreleases='linux-x64 9\.9\.0 outrider-9\.9\.0-linux-x64\.tar\.gz [0-9a-f]{64} \d+ \d+ [0-9a-f]{64} 24\.0\.0'\n/,
    );
    assert.match(script, /\nmain "\$@"\n$/);
    // As a fragment of it would run: nothing happens before its last line.
    const { stdout, stderr } = await promisify(execFile)('sh', [
      '-c',
      script.slice(0, script.lastIndexOf('\nmain')),
    ]);
    assert.equal(stdout + stderr, '');
    const elsewhere = await startHubApi({ publicUrl: 'https://hub.example.com/', authority: AUTHORITY });
    t.after(() => elsewhere.stop());
    const configured = await (await elsewhere.app.request('http://10.0.0.1:8080/install.sh')).text();
    assert.match(
      configured,
      /^hub='https:\/\/hub\.example\.com'\nca_pem='-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'\nreleases=''\n/m,
    );
    for (const host of ["a'b", 'a$(id)', 'a`id`', 'a;b', 'a b', 'a/b', 'a\nb', ''])
      assert.throws(
        () => installScript(`http://${host}`, { caPem: undefined, releases: [] }),
        (error) => isAppError(error, 'BAD_REQUEST'),
      );
  },
);

const AUTHORITY = {
  pem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  fingerprint: 'f'.repeat(64),
  bundle: '',
};

test(
  'a token says how a device comes here: by which address, whose authority, for which platforms',
  LINUX,
  async (t) => {
    const hub = await startHubApi({
      releasesDir: await packed(t, [X64]),
      authority: AUTHORITY,
      hostAbroad: 'hub.lan',
    });
    t.after(() => hub.stop());
    const ask = asker(hub);
    const made = await ask('POST', 'https://127.0.0.1:8443/api/v1/enrollment-tokens', { json: {} });
    const { install } = (await made.json()) as { install: unknown };
    assert.deepEqual(install, {
      hubUrl: 'https://hub.lan:8443',
      caSha256: sha256Hex(AUTHORITY.pem),
      platforms: ['linux-x64'],
    });
  },
);
