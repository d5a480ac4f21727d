/** deploy/install.sh on machines on which nothing can be installed: one clear line each. What it does where it can is in test/install. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';

const ONLY_HERE = { skip: process.platform === 'linux' ? false : 'needs Linux' };

/** Runs it with programs of this test in the place of this machine's; it can't come as far as a download. */
async function runs(
  t: TestContext,
  {
    programs = {},
    args = [],
  }: { readonly programs?: Readonly<Record<string, string>>; readonly args?: readonly string[] },
): Promise<{ readonly code: number | null; readonly said: string }> {
  const folder = await temporaryFolder(t);
  // Nothing is to be made here, whoever runs the tests.
  const all = { id: 'echo 0', mkdir: 'echo "mkdir $*" >&2; exit 1', ...programs };
  for (const [name, body] of Object.entries(all)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${body}\n`);
    await chmod(join(folder, name), 0o755);
  }
  const script = join(folder, 'script');
  const before = "hub='http://hub.lan:8080'\nca_pem=''\nreleases=''";
  await writeFile(script, `#!/bin/sh\n${before}\n${await readFile('deploy/install.sh', 'utf8')}`);
  const env = { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}` };
  return new Promise((resolve) => {
    const child = execFile('sh', [script, ...args], { env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, said: stdout + stderr }),
    );
  });
}

const machine = (system: string, cpu: string): Record<string, string> => ({
  uname: `[ "$1" = -s ] && echo ${system} || echo ${cpu}`,
});

test('says in one line why nothing can be installed here', ONLY_HERE, async (t) => {
  const refused = async (programs: Readonly<Record<string, string>>, why: RegExp): Promise<void> => {
    const { code, said } = await runs(t, { programs, args: ['--no-systemd', '--token', 's3cr3t'] });
    assert.match(said, why);
    assert.equal(said.trim().split('\n').length, 1, said);
    assert.ok(!said.includes('s3cr3t'));
    assert.equal(code, 1);
  };
  await refused({ id: 'echo 1000' }, /only root may: pipe it into sudo sh/);
  await refused(machine('Darwin', 'arm64'), /on Linux alone, and this is Darwin/);
  await refused(machine('Linux', 'armv7l'), /this system is 32-bit \(armv7l\)/);
  await refused(machine('Linux', 'riscv64'), /no Outrider for riscv64, only for x86_64 and aarch64/);
  const there = existsSync('/lib64/ld-linux-x86-64.so.2');
  const [here, elsewhere] = there ? ['x86_64', 'aarch64'] : ['aarch64', 'x86_64'];
  await refused(
    machine('Linux', here),
    /http:\/\/hub\.lan:8080 has no release for linux-.*npx outrider release --platform/,
  );
  if (!existsSync('/lib/ld-linux-aarch64.so.1') || !there)
    await refused(machine('Linux', elsewhere), /this system has (no \/lib|musl)/);
});

test('takes its own flags out, and says how it is used', ONLY_HERE, async (t) => {
  const help = await runs(t, { args: ['--help'] });
  assert.deepEqual([help.code, /^Usage: install\.sh/.test(help.said)], [0, true]);
  const bare = await runs(t, { args: ['--token'] });
  assert.match(bare.said, /--token wants a token/);
  const root = await runs(t, { args: ['--root', '/mnt'] });
  assert.match(root.said, /--root is for outrider agent install itself/);
});
