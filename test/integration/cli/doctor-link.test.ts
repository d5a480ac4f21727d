/** What keeps a device from its hub, as `outrider doctor` says it: over real programs, by typed commands. */
import assert from 'node:assert/strict';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import { type HubProgram, startHubProgram } from '../../support/hub-program.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider } from '../../support/programs.ts';

async function run(t: TestContext, ...args: string[]): Promise<string> {
  const program = outrider(t, args);
  await program.exited;
  return program.output();
}

/** An agent on this data folder, which has no model of its own. @returns its address */
async function startAgent(t: TestContext, hub: HubProgram, data: string): Promise<string> {
  const port = await freePort();
  const config = join(data, 'outrider.yaml');
  await writeFile(
    config,
    'device: gate-01\npipelines:\n  - { name: text, task: text-classification, cloud: words }\n',
  );
  const flags = ['--config', config, '--data', data, '--hub', hub.url, '--agent-port', String(port)];
  await outrider(t, ['agent', ...flags]).says('agent gate-01:');
  return `http://127.0.0.1:${port}`;
}

/** What the doctor finds about something there; of no model. */
async function found(t: TestContext, hub: HubProgram, agent: string, about: string): Promise<string> {
  const models = await temporaryFolder(t);
  const asked = ['--agent', agent, '--hub', hub.url, '--key', hub.key, '--models', models];
  const said = await run(t, 'doctor', '--json', ...asked);
  const { findings } = JSON.parse(said) as { findings: { about: string; level: string; found: string }[] };
  return findings
    .filter((one) => one.about === about)
    .map((one) => `${one.level} ${one.found}`)
    .join('; ');
}

test('a credential that was revoked, and an id that two devices use, are named', async (t) => {
  const hub = await startHubProgram(t);
  const asHub = ['--hub', hub.url, '--key', hub.key];
  const data = await temporaryFolder(t);
  await run(t, 'devices', 'enroll', 'gate-01', '--to', data, ...asHub);
  const agent = await startAgent(t, hub, data);
  await eventually(
    async () => /^ok online/.test(await found(t, hub, agent, 'link')),
    'it did not get online',
  );

  const copy = await temporaryFolder(t);
  await cp(data, copy, { recursive: true });
  await startAgent(t, hub, copy);
  await eventually(
    async () => /two programs use its id/.test(await found(t, hub, agent, 'device gate-01')),
    'nobody named the two',
  );

  await run(t, 'devices', 'revoke', 'gate-01', ...asHub);
  await eventually(
    async () =>
      /^fail offline: the hub does not know this device’s credential, or it has ended \(LINK_REFUSED\)/.test(
        await found(t, hub, agent, 'link'),
      ),
    'nobody named the refusal',
  );
});

test('a credential that cannot be read is named, and the device answers on', async (t) => {
  const hub = await startHubProgram(t);
  const data = await temporaryFolder(t);
  await run(t, 'devices', 'enroll', 'gate-01', '--to', data, '--hub', hub.url, '--key', hub.key);
  await writeFile(join(data, 'agent', 'enroll.token'), '');
  await writeFile(join(data, 'agent', 'credential.json'), '{"deviceId": "gate-01", "secr');
  const agent = await startAgent(t, hub, data);
  await eventually(
    async () =>
      /^fail offline: .*credential\.json.* \(DATA_CORRUPT\)/.test(await found(t, hub, agent, 'link')),
    'nobody named the file',
  );
  assert.equal((await fetch(`${agent}/v1/pipelines`)).status, 200);
});
