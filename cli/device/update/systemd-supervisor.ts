/** The agent's service as an update needs it: started with the unit of a version, watched until it reaches its hub. */
import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Place } from '../place.ts';
import { reloadUnits, restartUnit, unitState, writeUnit } from '../service.ts';
import type { Supervisor } from './apply-update.ts';

/** A device's own network may take as long to come up. */
const REACHES_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 1_000;
const CHECK_WITHIN_MS = 60_000;
/** As the agent says it of itself in its status line (agent/wiring/service.ts), every 20 s. */
const IS_ONLINE = /\bonline$/;

/** @param isBoot the agent is started by systemd, after this */
export function systemdSupervisor(
  place: Place,
  { clock, isBoot }: { clock: Clock; isBoot: boolean },
): Supervisor {
  return {
    async restart(folder) {
      await writeUnit(place, folder);
      if (place.root !== '/') return undefined;
      await reloadUnits();
      return isBoot ? undefined : restartUnit(clock);
    },
    async reachesHub() {
      const { pid } = await unitState();
      for (let waitedMs = 0; waitedMs <= REACHES_WITHIN_MS; waitedMs += LOOK_EVERY_MS) {
        const now = await unitState();
        if (now.active !== 'active' || now.pid !== pid) return false;
        if (IS_ONLINE.test(now.status)) return true;
        await clock.sleep(LOOK_EVERY_MS, undefined, true);
      }
      return false;
    },
    check: async (folder, version) => saysItsVersion(folder, version, await stat(place.data)),
  };
}

/** It starts at all, and is what it says: as the agent's user, without anything of ours in its environment. @throws RELEASE_INVALID */
export function saysItsVersion(
  folder: string,
  version: string,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const isRoot = process.getuid?.() === 0;
    const child = spawn(join(folder, 'bin/outrider'), ['--version'], {
      ...(isRoot && { uid, gid }),
      ...{ cwd: '/', env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/nonexistent' } },
      ...{ stdio: ['ignore', 'pipe', 'pipe'], timeout: CHECK_WITHIN_MS, killSignal: 'SIGKILL' },
    });
    let said = '';
    const hear = (chunk: Buffer): void => {
      said = `${said}${chunk}`.slice(0, 2_000);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    const fail = (why: string): void =>
      reject(new AppError('RELEASE_INVALID', `${version} does not pass its own check: ${why}`));
    child.once('error', (error) => fail(error.message));
    child.once('close', (code) => {
      if (code !== 0) fail(said.trim().slice(-300) || `it ended with ${code ?? 'a signal'}`);
      else if (said.trim().split(/\s/)[0] !== version) fail(`it says that it is ${said.trim().slice(0, 50)}`);
      else resolve();
    });
  });
}
