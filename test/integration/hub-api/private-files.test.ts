/** What hub and agent write is for their account alone, though the umask that they are started with would let others read. */
import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider } from '../../support/programs.ts';

/** Paths below the folder that other accounts may read, write or enter, with their modes. */
async function openToOthers(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  const found = await Promise.all(
    names.map(async (name) => {
      const { mode } = await lstat(join(folder, name));
      return (mode & 0o077) === 0 ? [] : [`${name} ${(mode & 0o777).toString(8)}`];
    }),
  );
  assert.ok(names.length > 5);
  return found.flat();
}

test('data folders of hub and agent under the umask 022, also where an older one lay open', {
  skip: process.platform === 'win32' && 'no modes',
}, async (t) => {
  const before = process.umask(0o022);
  t.after(() => process.umask(before));
  const hub = await startHubProgram(t);
  assert.deepEqual(await openToOthers(join(hub.folder, '..')), []);

  const folder = await temporaryFolder(t);
  const [data, port] = [join(folder, 'data'), String(await freePort())];
  await mkdir(join(data, 'agent'), { recursive: true });
  await chmod(join(data, 'agent'), 0o755);
  const config = join(folder, 'outrider.yaml');
  await writeFile(
    config,
    'pipelines:\n  - { name: text, task: text-classification, edge: words, route: { agreement: 0.9 } }\n',
  );
  const models = join(hub.folder, '..', '..', 'models');
  const args = ['--config', config, '--data', data, '--models', models, '--agent-port', port];
  const agent = outrider(t, ['agent', '--device', 'gate-01', ...args]);
  const url = `http://127.0.0.1:${port}`;
  await eventually(
    async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.ok === true,
    'the agent did not get ready',
  );
  assert.equal((await fetch(`${url}/v1/infer/text`, { method: 'POST', body: 'good' })).status, 200);
  agent.process.kill('SIGTERM');
  await agent.exited;
  assert.deepEqual(await openToOthers(data), []);
});
