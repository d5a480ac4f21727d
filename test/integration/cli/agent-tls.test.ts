/** A device that answers over HTTPS, as the commands that talk to a device are typed. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Authority } from '../../../shared/runtime/authority.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';
import { outrider } from '../../support/programs.ts';

async function run(
  t: TestContext,
  args: string[],
  env = {},
): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, args, { env });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

test('outbox and doctor ask a device over HTTPS, by the authority that is named, and no other', async (t) => {
  const folder = await temporaryFolder(t);
  const tls = join(folder, 'tls');
  await Authority.open({ folder: tls, names: [], clock: systemClock, logger: silentLogger });
  const config = join(folder, 'outrider.yaml');
  await writeFile(
    config,
    'device: gate-01\npipelines:\n  - { name: text, task: text-classification, cloud: big }\n',
  );
  const port = await freePort();
  const certificate = [
    '--agent-tls-cert',
    join(tls, 'server.pem'),
    '--agent-tls-key',
    join(tls, 'server.key'),
  ];
  const flags = [
    '--config',
    config,
    '--data',
    join(folder, 'data'),
    '--agent-port',
    String(port),
    ...certificate,
  ];
  await outrider(t, ['agent', ...flags]).says(`agent gate-01: https://127.0.0.1:${port}`);
  const agent = ['--agent', `https://127.0.0.1:${port}`];
  const ca = ['--agent-ca', join(tls, 'ca.pem')];

  assert.deepEqual(await run(t, ['outbox', 'ls', ...agent, ...ca]), {
    code: 0,
    output: '0 open (0 B on disk), 0 given up\n',
  });
  const byName = await run(t, ['outbox', 'ls', ...agent], { OUTRIDER_AGENT_CA: join(tls, 'ca.pem') });
  assert.equal(byName.code, 0, byName.output);
  const stranger = await run(t, ['outbox', 'ls', ...agent]);
  assert.equal(stranger.code, 1);
  assert.match(stranger.output, /is not trusted: .+ \(AGENT_UNTRUSTED\)\n$/);
  const missing = await run(t, ['outbox', 'ls', ...agent, '--agent-ca', 'nowhere.pem']);
  assert.match(
    missing.output,
    /nowhere\.pem cannot be read: there is no such file or folder \(FILE_UNREADABLE\)\n$/,
  );
  const nowhere = await run(t, ['outbox', 'ls', '--agent', 'gate 7']);
  assert.deepEqual([nowhere.code, nowhere.output], [2, 'outrider: --agent gate 7 is no address (USAGE)\n']);

  const models = await temporaryFolder(t);
  const looked = await run(t, ['doctor', '--models', models, '--hub', 'http://127.0.0.1:9', ...agent, ...ca]);
  assert.match(looked.output, /^agent +ok +gate-01 runs text$/m);
});
