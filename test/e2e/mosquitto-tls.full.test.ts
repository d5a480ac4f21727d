/** Hubs at a broker of somebody else's whose certificate is of a private authority: `--mqtt-ca`, with records and without. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newSecret } from '../../shared/runtime/ids.ts';
import { startMosquitto, type TestUser } from '../support/broker.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const HUB: TestUser = { id: 'the-hub', secret: newSecret(), role: 'hub' };

test('every hub believes the broker by the authority that it was given, and not without', async (t) => {
  const broker = await startMosquitto([HUB], 'mqtts');
  t.after(() => broker.stop());
  const ca = join(broker.folder, 'tls', 'ca.pem');
  const root = await temporaryFolder(t);
  const start = async (name: string, ...flags: string[]) => {
    const port = String(await freePort());
    const hub = outrider(
      t,
      [
        ...['hub', '--data', join(root, name), '--models', join(FIXTURES, 'words'), '--hub-port', port],
        ...['--mqtt', broker.url, ...flags],
      ],
      { env: { OUTRIDER_MQTT_USERNAME: HUB.id, OUTRIDER_MQTT_PASSWORD: HUB.secret } },
    );
    await hub.says(/^hub /m);
    return async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200;
  };
  await eventually(await start('full', '--mqtt-ca', ca), 'the hub never found the broker');
  await eventually(await start('answers', '--mqtt-ca', ca, '--intake-only'), 'it never found the broker');
  const isReady = await start('without');
  const log = join(root, 'without', 'logs', 'hub.log');
  await eventually(() => readFileSync(log, 'utf8').includes('HUB_UNTRUSTED'), 'it did not say why');
  assert.ok(!(await isReady()));
});
