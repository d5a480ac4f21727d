/** The agent's unit and the systemd that runs it: written, enabled, started, and looked at until it is up or has failed. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import { type Clock, systemClock } from '../../shared/runtime/clock.ts';
import { DEFAULT_CONFIG, DEFAULT_DATA, type Place, SERVICE } from './place.ts';
import { mustRun, runSystem } from './system-command.ts';
import { pointLink } from './versions.ts';

/** State of the unit as `systemctl show` has it. */
export interface UnitState {
  /** active, activating, failed, inactive, … */
  readonly active: string;
  readonly sub: string;
  readonly pid: number;
  /** How often systemd has started it anew by itself since somebody started it. */
  readonly restarts: number;
  /** When it became active, as systemd writes it; empty: never. */
  readonly since: string;
  /** What the agent says of itself. */
  readonly status: string;
  readonly result: string;
  readonly isEnabled: boolean;
  readonly memoryBytes: number | null;
}

const UNIT_FILE = `deploy/systemd/${SERVICE}.service`;
/** Above TimeoutStartSec of the unit, which ends a start that hangs. */
const START_WITHIN_MS = 4 * 60_000;
const STOP_WITHIN_MS = 60_000;
/** It must stay up so long after it has said that it is ready. */
const STAYS_UP_MS = 5_000;
const LOOK_EVERY_MS = 500;

/** Whether systemd runs this machine. systemd: sd_booted(3) */
export const hasSystemd = (): Promise<boolean> =>
  stat('/run/systemd/system').then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Writes the unit of a version, with this place's configuration and data in it. @returns whether it is another than before */
export async function writeUnit(place: Place, release: string): Promise<boolean> {
  const { config, data } = place.inside;
  let text = await readFile(join(release, UNIT_FILE), 'utf8');
  text = text.replaceAll(` --config ${DEFAULT_CONFIG}`, ` --config ${config}`);
  if (data !== DEFAULT_DATA)
    text = text
      .replace(/^StateDirectory=.*\nStateDirectoryMode=.*$/m, `ReadWritePaths=${data}`)
      .replaceAll(IS_DEFAULT_DATA, data);
  return written(place.unit, text);
}

/** Not the folder beside it whose name begins so. */
const IS_DEFAULT_DATA = new RegExp(`${DEFAULT_DATA}(?![\\w-])`, 'g');

async function written(path: string, text: string): Promise<boolean> {
  if ((await readFile(path, 'utf8').catch(() => '')) === text) return false;
  await writeFileAtomic(path, text, 0o644);
  return true;
}

/** Units that put updates from the hub into place; one of them is started by an offer, one by a boot in the midst of a trial. */
const UPDATE_UNITS = [
  'outrider-update.path',
  'outrider-update.service',
  'outrider-update-boot.service',
] as const;
/** Those that start with the machine. */
const ENABLED_UPDATE_UNITS = ['outrider-update.path', 'outrider-update-boot.service'] as const;

/** Writes and enables the units of updates, where the version has them. @returns whether anything is new; undefined: it has none */
export async function writeUpdateUnits(place: Place, release: string): Promise<boolean | undefined> {
  const units = dirname(place.unit);
  let isNew = false;
  for (const name of UPDATE_UNITS) {
    const text = await readFile(join(release, 'deploy/systemd', name), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const own = text.replaceAll(IS_DEFAULT_DATA, place.inside.data);
    isNew = (await written(join(units, name), own)) || isNew;
  }
  for (const name of ENABLED_UPDATE_UNITS)
    isNew = (await pointLink(join(dirname(place.wanted), name), `../${name}`)) || isNew;
  return isNew;
}

/** Has systemd wait for offers from now on. */
export const watchForUpdates = async (): Promise<void> =>
  void (await runSystem('systemctl', ['restart', 'outrider-update.path']));

/** All that `writeUpdateUnits` makes. */
export const updateUnitPaths = (place: Place): string[] => [
  ...ENABLED_UPDATE_UNITS.map((name) => join(dirname(place.wanted), name)),
  ...UPDATE_UNITS.map((name) => join(dirname(place.unit), name)),
];

/** Nobody waits for offers any more. */
export const stopUpdates = async (): Promise<void> =>
  void (await runSystem(
    'systemctl',
    ['stop', 'outrider-update.path', 'outrider-update.service'],
    STOP_WITHIN_MS,
  ));

/** What `systemctl enable` does, also in an image. @returns false where it was enabled */
export const enableUnit = (place: Place): Promise<boolean> =>
  pointLink(place.wanted, `../${SERVICE}.service`);

/** Has systemd read its units again. @throws INSTALL_IMPOSSIBLE */
export const reloadUnits = async (): Promise<void> => void (await mustRun('systemctl', ['daemon-reload']));

/** Starts the unit anew and sees that it stays up. @returns why not; undefined when it is up */
export async function restartUnit(clock: Clock = systemClock): Promise<string | undefined> {
  const startAtMs = Date.now();
  // An earlier version may have failed so often that systemd has given up on it.
  await runSystem('systemctl', ['reset-failed', SERVICE]);
  const { code, output } = await runSystem('systemctl', ['restart', SERVICE], START_WITHIN_MS);
  if (code === 0) {
    const first = await unitState();
    for (let waitedMs = 0; ; waitedMs += LOOK_EVERY_MS) {
      const now = await unitState();
      if (now.active !== 'active' || now.pid !== first.pid) break;
      if (waitedMs >= STAYS_UP_MS) return undefined;
      await clock.sleep(LOOK_EVERY_MS, undefined, true);
    }
  }
  const why =
    code === null ? `it was not ready within ${START_WITHIN_MS / 60_000} minutes` : output.split('\n')[0];
  return [why || 'it ended after it was ready', ...(await lastLines(startAtMs))].join('\n');
}

/** @returns whether it ran */
export async function stopUnit(): Promise<boolean> {
  const { active } = await unitState();
  await runSystem('systemctl', ['stop', SERVICE], STOP_WITHIN_MS);
  return active !== 'inactive';
}

/** @throws INSTALL_IMPOSSIBLE where there is no systemctl */
export async function unitState(): Promise<UnitState> {
  const names =
    'ActiveState,SubState,MainPID,NRestarts,ActiveEnterTimestamp,StatusText,Result,UnitFileState,MemoryCurrent';
  const { output } = await runSystem('systemctl', ['show', SERVICE, '-p', names]);
  const facts = new Map(
    output.split('\n').map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]),
  );
  const get = (name: string): string => facts.get(name) ?? '';
  const memory = Number(get('MemoryCurrent'));
  return {
    active: get('ActiveState') || 'unknown',
    sub: get('SubState'),
    pid: Number(get('MainPID')),
    restarts: Number(get('NRestarts')),
    since: get('ActiveEnterTimestamp'),
    status: get('StatusText'),
    result: get('Result'),
    isEnabled: get('UnitFileState') === 'enabled',
    // 2^64-1 where nobody counts.
    memoryBytes: get('MemoryCurrent') !== '' && Number.isSafeInteger(memory) ? memory : null,
  };
}

/** What the service has said since; a log holds no secret. */
async function lastLines(sinceAtMs: number): Promise<string[]> {
  const since = ['--since', `@${Math.floor(sinceAtMs / 1_000)}`];
  const { code, output } = await runSystem('journalctl', [
    '-u',
    SERVICE,
    '-n',
    '12',
    '-o',
    'cat',
    '--no-pager',
    ...since,
  ]);
  return code === 0 ? output.split('\n').slice(-12) : [];
}
