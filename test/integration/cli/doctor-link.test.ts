/** What keeps a device from its hub, as `outrider doctor` says it: over real programs, by typed commands. */
import assert from 'node:assert/strict';
import { cp, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
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
async function startAgent(
  t: TestContext,
  hub: HubProgram,
  data: string,
  { device = 'device: gate-01\n', said = 'agent gate-01:', mqtt = '' } = {},
): Promise<string> {
  const port = await freePort();
  const config = join(data, 'outrider.yaml');
  await writeFile(
    config,
    `${device}pipelines:\n  - { name: text, task: text-classification, cloud: words }\n`,
  );
  const flags = ['--config', config, '--data', data, '--hub', hub.url, '--agent-port', String(port)];
  await outrider(t, ['agent', ...flags, ...(mqtt === '' ? [] : ['--mqtt', mqtt])]).says(said);
  return `http://127.0.0.1:${port}`;
}

/** Waits for what the doctor says; it is asked where the device or the hub knows something new, since a look at a machine costs a second. */
async function says(
  t: TestContext,
  { hub, agent, about, what }: { hub: HubProgram; agent: string; about: string; what: RegExp },
): Promise<void> {
  let known = '';
  let said = '';
  await eventually(
    async () => {
      const now = await knownTo(hub, agent);
      if (now === known) return false;
      known = now;
      said = await found(t, hub, agent, about);
      return what.test(said);
    },
    () => `doctor never said ${what.source}, but: ${said}`,
  );
}

/** What device and hub know of the link, whatever else changes. */
async function knownTo(hub: HubProgram, agent: string): Promise<string> {
  const { link } = (await (await fetch(`${agent}/v1/pipelines`)).json()) as { link: Record<string, unknown> };
  const headers = { authorization: `Bearer ${hub.key}` };
  const { devices } = (await (await fetch(`${hub.url}/api/v1/devices`, { headers })).json()) as {
    devices: { online: boolean; contestedAtMs: number | null }[];
  };
  const fleet = devices.map(({ online, contestedAtMs }) => [online, contestedAtMs !== null]);
  return JSON.stringify([link.online, link.problem, fleet]);
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
  await says(t, { hub, agent, about: 'link', what: /^ok online/ });

  const copy = await temporaryFolder(t);
  await cp(data, copy, { recursive: true });
  await startAgent(t, hub, copy);
  await says(t, { hub, agent, about: 'device gate-01', what: /two programs use its id/ });

  await run(t, 'devices', 'revoke', 'gate-01', ...asHub);
  await says(t, {
    ...{ hub, agent, about: 'link' },
    what: /^fail offline: the hub does not know this device’s credential, or it has ended \(LINK_REFUSED\)/,
  });
});

test('a credential that cannot be read is named, and the device answers on', async (t) => {
  const hub = await startHubProgram(t);
  const data = await temporaryFolder(t);
  await run(t, 'devices', 'enroll', 'gate-01', '--to', data, '--hub', hub.url, '--key', hub.key);
  await writeFile(join(data, 'agent', 'enroll.token'), '');
  await writeFile(join(data, 'agent', 'credential.json'), '{"deviceId": "gate-01", "secr');
  const agent = await startAgent(t, hub, data);
  await says(t, { hub, agent, about: 'link', what: /^fail offline: .*credential\.json.* \(DATA_CORRUPT\)/ });
  assert.equal((await fetch(`${agent}/v1/pipelines`)).status, 200);
});

test('a device whose host is called otherwise stays who it is enrolled as, and another id is named', async (t) => {
  const hub = await startHubProgram(t);
  const data = await temporaryFolder(t);
  const id = `not-${hostname().replace(/[^A-Za-z0-9_-]/g, '-')}`.slice(0, 64);
  await run(t, 'devices', 'enroll', id, '--to', data, '--hub', hub.url, '--key', hub.key);
  const first = await startAgent(t, hub, data, { device: `device: ${id}\n`, said: `agent ${id}:` });
  await says(t, { hub, agent: first, about: 'link', what: /^ok online/ });
  const copy = await temporaryFolder(t);
  await cp(join(data, 'agent', 'credential.json'), join(copy, 'agent', 'credential.json'));
  // Nothing names it now but its host, which is called otherwise.
  const agent = await startAgent(t, hub, copy, { device: '', said: `agent ${id}:` });
  await says(t, { hub, agent, about: 'agent', what: new RegExp(`^ok ${id} runs text$`) });

  const other = await temporaryFolder(t);
  await cp(join(data, 'agent', 'credential.json'), join(other, 'agent', 'credential.json'));
  const named = await startAgent(t, hub, other);
  await says(t, {
    ...{ hub, agent: named, about: 'link' },
    what: new RegExp(
      `^fail offline: this data folder is enrolled as ${id}, and the device is called gate-01 now: name it ${id} again, or enrol gate-01 \\(LINK_REFUSED\\)$`,
    ),
  });
});

test('a broker that is not there, and one that does not know the device, are told from a hub that is away', async (t) => {
  const hub = await startHubProgram(t);
  const other = await startHubProgram(t);
  const gone = `127.0.0.1:${await freePort()}`;
  const linkOver = async (mqtt: string): Promise<[agent: string, data: string]> => {
    const data = await temporaryFolder(t);
    await run(t, 'devices', 'enroll', 'gate-01', '--to', data, '--hub', hub.url, '--key', hub.key);
    return [await startAgent(t, hub, data, { mqtt }), data];
  };
  const [away] = await linkOver(`mqtt://${gone}`);
  await says(t, {
    ...{ hub, agent: away, about: 'link' },
    what: new RegExp(`^fail offline: .*${gone}.*ECONNREFUSED.* \\(BROKER_UNREACHABLE\\)`),
  });
  const { host } = new URL(other.mqttUrl);
  const [refused] = await linkOver(other.mqttUrl);
  await says(t, {
    ...{ hub, agent: refused, about: 'link' },
    what: new RegExp(
      `^fail offline: the broker ${host} refuses the credential of gate-01: .* \\(LINK_REFUSED\\)`,
    ),
  });
});
