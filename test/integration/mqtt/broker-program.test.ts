/** The broker as its own process, started as `outrider hub` does. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import { programFile } from '../../../shared/runtime/installation.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { Supervisor } from '../../../shared/runtime/supervisor.ts';
import { TEST_USERS } from '../../support/broker.ts';
import { connectAs, until } from '../../support/link-contract.ts';
import { freePort } from '../../support/ports.ts';

describe('the broker program', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'outrider-broker-program-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const supervise = (port: number, onReady: (facts: Record<string, unknown>) => void = () => {}) =>
    new Supervisor({
      name: 'broker',
      entry: programFile('broker'),
      args: ['--port', String(port), '--data', folder, '--logs', join(folder, 'logs')],
      logger: silentLogger,
      clock: systemClock,
      onReady,
    });

  it('says where it listens, and is started again when it is killed', async () => {
    const principals = TEST_USERS.map(({ id, secret, role }) => ({
      id,
      secretSha256: sha256Hex(secret),
      role,
    }));
    await writeFile(join(folder, 'access.json'), JSON.stringify({ version: 1, principals }));
    const port = await freePort();
    const facts: Record<string, unknown>[] = [];
    const broker = supervise(port, (told) => facts.push(told));
    await broker.start();
    assert.deepEqual(facts, [{ host: '127.0.0.1', port }]);
    const device = await connectAs({ url: `mqtt://127.0.0.1:${port}` }, 'gate-01', { random: () => 0.2 });
    process.kill(broker.pid ?? 0, 'SIGKILL');
    await until(() => !device.connected);
    await until(() => device.connected);
    await device.end();
    await broker.stop();
  });

  it('names the flag when its port is taken', async () => {
    const server = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    await assert.rejects(
      () => supervise(port).start(),
      (error) => isAppError(error, 'PORT_TAKEN') && error.message.includes('--mqtt-port'),
    );
    server.close();
  });

  it('has one owner for a data folder', async () => {
    const first = supervise(await freePort());
    await first.start();
    await assert.rejects(
      async () => supervise(await freePort()).start(),
      (error) => isAppError(error, 'DATA_LOCKED'),
    );
    await first.stop();
  });
});
