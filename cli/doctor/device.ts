/**
 * What the doctor looks at on a small device, by the files in which the kernel tells it: heat, an undervolted Raspberry Pi, a card that
 * wears out, a clock that nobody sets, a network that the clock waits for. A line only where there is something to say.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasProgram, runSystem } from '../device/system-command.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** Where the kernel tells it. */
interface KernelFiles {
  /** `/`, or a folder with copies of what a device has shown. */
  readonly root: string;
}

const HERE: KernelFiles = { root: '/' };
/** Raspberry Pis slow down from 80 °C on; most boards by 85. */
const HOT = { warnC: 75, failC: 85 };
/** Sensors without anything behind them say 0 or what no board outlives. */
const PLAUSIBLE = { fromC: 1, toC: 150 };

/** All that this device says of itself. @returns nothing on a machine that has no such files */
export async function checkDevice(files: KernelFiles = HERE): Promise<Finding[]> {
  const found = await Promise.all([checkHeat(files), checkThrottling(files), checkWear(files)]);
  return found.flat();
}

/** The hottest zone. thermal_zone*: temp in thousandths of a degree Celsius */
async function checkHeat({ root }: KernelFiles): Promise<Finding[]> {
  const zones = await entries(join(root, 'sys/class/thermal'), /^thermal_zone\d+$/);
  const read = zones.map(async (folder) => ({
    type: (await textIn(join(folder, 'type'))) ?? 'unknown',
    celsius: Number((await textIn(join(folder, 'temp'))) ?? Number.NaN) / 1_000,
  }));
  const [hottest] = (await Promise.all(read))
    .filter(({ celsius }) => celsius >= PLAUSIBLE.fromC && celsius <= PLAUSIBLE.toC)
    .sort((one, other) => other.celsius - one.celsius);
  if (!hottest) return [];
  const found = `${hottest.celsius.toFixed(0)} °C (${hottest.type})`;
  const todo = 'Give it air or a heat sink; a hot processor is slowed down, and answers late.';
  if (hottest.celsius >= HOT.failC) return [fail('temperature', found, todo)];
  return [hottest.celsius >= HOT.warnC ? warn('temperature', found, todo) : ok('temperature', found)];
}

/** Bits of the firmware: now, and since the start 16 higher. raspberrypi/documentation, vcgencmd get_throttled */
const THROTTLED = [
  'its supply gives too little voltage',
  'its clock is capped',
  'it is throttled',
  'its soft limit of temperature is reached',
] as const;

async function checkThrottling({ root }: KernelFiles): Promise<Finding[]> {
  const text = await textIn(join(root, 'sys/devices/platform/soc/soc:firmware/get_throttled'));
  // In hex, with or without 0x.
  const bits = text === undefined ? Number.NaN : Number.parseInt(text.replace(/^0x/, ''), 16);
  if (Number.isNaN(bits)) return [];
  const named = (shift: number): string[] => THROTTLED.filter((_what, bit) => bits & (1 << (bit + shift)));
  const [now, before] = [named(0), named(16)];
  const todo =
    'Use the board’s own power supply and a short cable (5 V at 3 A, for a Pi 5 at 5 A), and cool it.';
  if (now.length > 0) return [fail('power', `now: ${now.join(', ')}`, todo)];
  if (before.length > 0) return [warn('power', `since the start, and not now: ${before.join(', ')}`, todo)];
  return [ok('power', 'enough voltage since the start')];
}

/** eMMC and some SD cards: life used in tenths, for both kinds of their cells, and what is left of their spare blocks. JEDEC 84-B50, 7.4.43 to 45 */
async function checkWear({ root }: KernelFiles): Promise<Finding[]> {
  const cards = await entries(join(root, 'sys/block'), /^mmcblk\d+$/);
  return (await Promise.all(cards.map(wearOf))).flat();
}

const SPARE: Readonly<Record<number, string>> = {
  2: '80 % of its spare blocks are used',
  3: 'its spare blocks are nearly used up',
};

async function wearOf(folder: string): Promise<Finding[]> {
  const name = folder.slice(folder.lastIndexOf('/') + 1);
  const [life, spare] = await Promise.all(
    ['life_time', 'pre_eol_info'].map((file) => textIn(join(folder, 'device', file))),
  );
  const tenths = Math.max(0, ...(life ?? '').split(/\s+/).map((one) => Number.parseInt(one, 16) || 0));
  const spareLeft = Number.parseInt(spare ?? '0', 16) || 0;
  if (tenths === 0 && spareLeft === 0) return [];
  const about = `card ${name}`;
  const used =
    tenths > 10
      ? 'its life is used up'
      : tenths === 0
        ? 'wears'
        : `${(tenths - 1) * 10} to ${tenths * 10} % of its life are used`;
  const found = SPARE[spareLeft] === undefined ? used : `${used}, and ${SPARE[spareLeft]}`;
  const todo = 'Copy it to a new one before it fails; keep snapshots and captures small, or on another disk.';
  if (tenths > 10 || spareLeft >= 3) return [fail(about, found, todo)];
  return [tenths > 8 || spareLeft === 2 ? warn(about, found, todo) : ok(about, found)];
}

/**
 * Whether something keeps the clock right.
 *
 * @param ask what `timedatectl show` says; undefined where it cannot be asked
 */
export async function checkClockSource(
  ask: () => Promise<string | undefined> = timedatectl,
): Promise<Finding[]> {
  const said = await ask();
  const isSynchronised = /^NTPSynchronized=(yes|no)$/m.exec(said ?? '')?.[1];
  if (isSynchronised === undefined) return [];
  if (isSynchronised === 'yes') return [ok('clock source', 'set by NTP')];
  return [
    warn(
      'clock source',
      'nobody sets this clock',
      'timedatectl set-ntp true (Debian: apt-get install systemd-timesyncd): certificates and updates are checked against it.',
    ),
  ];
}

async function timedatectl(): Promise<string | undefined> {
  if (!(await hasProgram('timedatectl'))) return undefined;
  const { code, output } = await runSystem('timedatectl', ['show', '-p', 'NTPSynchronized'], 5_000);
  return code === 0 ? output : undefined;
}

const entries = async (folder: string, wanted: RegExp): Promise<string[]> =>
  (await readdir(folder).catch(() => []))
    .filter((name) => wanted.test(name))
    .map((name) => join(folder, name));

/** Some can be listed and not read. */
const textIn = async (path: string): Promise<string | undefined> =>
  (await readFile(path, 'utf8').catch(() => undefined))?.trim();
