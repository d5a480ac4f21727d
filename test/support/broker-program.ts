/** The embedded broker as the program that hubs start, for what is measured of its process. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ACCESS_FILE_NAME, type AccessFile } from '../../shared/contract/access.ts';
import { writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { programFile } from '../../shared/runtime/installation.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { Supervisor } from '../../shared/runtime/supervisor.ts';
import { TEST_USERS, type TestBroker, type TestUser } from './broker.ts';
import { freePort } from './ports.ts';

/** Broker program with the lines of its log. */
export interface BrokerProgram extends TestBroker {
  log(): Promise<{ readonly event: string; readonly clientId?: string }[]>;
}

export async function startBrokerProgram(
  users: readonly TestUser[] = TEST_USERS,
  host = '127.0.0.1',
): Promise<BrokerProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-broker-program-'));
  const setUsers = (next: readonly TestUser[]) => {
    const principals = next.map(({ secret, ...rest }) => ({ ...rest, secretSha256: sha256Hex(secret) }));
    const file: AccessFile = { version: 1, principals };
    return writeJsonAtomic(join(folder, ACCESS_FILE_NAME), file, 0o600);
  };
  await setUsers(users);
  const port = await freePort();
  const logs = join(folder, 'logs');
  const broker = new Supervisor({
    name: 'broker',
    entry: programFile('broker'),
    args: ['--host', host, '--port', String(port), '--data', folder, '--logs', logs],
    logger: silentLogger,
    clock: systemClock,
  });
  await broker.start();
  return {
    url: `mqtt://${host}:${port}`,
    port,
    folder,
    get pid() {
      return broker.pid;
    },
    setUsers,
    async restart(downMs = 0) {
      await broker.stop();
      await delay(downMs);
      await broker.start();
    },
    async stop() {
      await broker.stop();
      await rm(folder, { recursive: true, force: true });
    },
    async log() {
      const lines = await readFile(join(logs, 'broker.log'), 'utf8').catch(() => '');
      return lines
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line));
    },
  };
}
