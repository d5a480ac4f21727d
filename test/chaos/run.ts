/**
 * One chaos run: start everything, load and harm it for a while, heal it, wait until nothing is owed any more, and hold what was
 * accepted against what was answered.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { requestId } from '../../shared/contract/names.ts';
import { type Result, result } from '../../shared/contract/result.ts';
import { systemCode } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { seededRandom } from '../../shared/runtime/random.ts';
import type { ChaosProxy } from '../support/chaos/proxy.ts';
import { Harm } from './harm.ts';
import { type Death, KeptProgram, stopAll } from './kept-program.ts';
import { Load, loadInputs } from './load.ts';
import { type BrokerKind, type Device, PIPELINES, type Place, startPlace } from './place.ts';
import { type Counts, countedTwice, type Left, reconcile } from './reconcile.ts';

export interface ChaosOptions {
  readonly broker: BrokerKind;
  readonly minutes: number;
  readonly seed: number;
  readonly devices: number;
  /** Requests to each device. */
  readonly perSecond: number;
  /** Keeps the folder also when all is well. */
  readonly keep: boolean;
  readonly onProgress: (line: string) => void;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

export interface ChaosReport extends Pick<ChaosOptions, 'broker' | 'minutes' | 'seed' | 'devices'> {
  readonly kills: Harm['kills'];
  readonly faults: Harm['faults'];
  /** By device id. */
  readonly counts: Readonly<Record<string, Counts>>;
  readonly refused: number;
  readonly unknown: number;
  readonly unheard: number;
  readonly usageLines: number;
  /** Device and id. */
  readonly usageTwice: readonly string[];
  /** Outbox entries that were still there when the wait was over. */
  readonly owed: number;
  readonly drainMs: number;
  /** Requests that the devices have given up, and keep. */
  readonly buried: number;
  /** Programs that ended though nobody had killed them, or did not stop as they should. */
  readonly deaths: readonly Death[];
  /** Where everything lies; undefined when it has been removed. */
  readonly folder: string | undefined;
}

/** Reconnecting may wait a minute, and an unanswered request is asked again after half of one and then twice that. */
const DRAIN_LIMIT_MS = 240_000;
const POLL_MS = 250;
/** Sinks, and the hub's usage lines, follow the outbox within a moment. */
const SETTLE_MS = 1_500;

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { signal, onProgress, seed, minutes, broker } = options;
  const folder = await mkdtemp(join(tmpdir(), 'outrider-chaos-'));
  const random = seededRandom(seed);
  const owned: (KeptProgram | ChaosProxy)[] = [];
  const endNow = (): void => {
    for (const part of owned) if (part instanceof KeptProgram) part.endNow();
  };
  const onExit = (): void => {
    endNow();
    if (signal.aborted) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  // Whatever ends this process, nothing of it stays.
  process.on('exit', onExit);
  try {
    const inputs = await loadInputs(random.fork('noise'));
    onProgress('starting …');
    const place = await startPlace({
      folder,
      broker,
      devices: options.devices,
      random: random.fork('proxies'),
      own: (part) => owned.push(part),
    });
    await untilTrue(
      async () => (await Promise.all(place.devices.map(linkOf))).every((link) => link?.online),
      signal,
    );
    const loads = place.devices.map(
      (device) =>
        new Load({ device, inputs, random: random.fork(`load ${device.id}`), perSecond: options.perSecond }),
    );
    const harm = new Harm(place, random.fork('harm'));
    for (const load of loads) load.start();
    harm.start();
    const endMonoMs = performance.now() + minutes * 60_000;
    while (performance.now() < endMonoMs) {
      onProgress(
        progress(place, harm, loads, `${Math.ceil((endMonoMs - performance.now()) / 1_000)} s left`),
      );
      await delay(Math.min(1_000, Math.max(1, endMonoMs - performance.now())), undefined, { signal });
    }
    await Promise.all([harm.stop(), ...loads.map((load) => load.stop())]);
    const healedMonoMs = performance.now();
    const owed = await drain(place, signal, (left) =>
      onProgress(progress(place, harm, loads, `${left} owed`)),
    );
    const drainMs = Math.round(performance.now() - healedMonoMs);
    await delay(SETTLE_MS, undefined, { signal });
    const links = await Promise.all(place.devices.map(linkOf));
    const buried = links.reduce((total, link) => total + (link?.outbox.deadLetters ?? 0), 0);
    const deaths = await stopAll(place);
    const counts: Record<string, Counts> = {};
    for (const [at, device] of place.devices.entries()) {
      const load = loads[at];
      if (load) counts[device.id] = reconcile(load.ledger, await leftBy(device));
    }
    const usage = await usageLines(join(place.hubFolder, 'usage'));
    const sum = (of: 'refused' | 'unknown' | 'unheard'): number =>
      loads.reduce((total, { ledger }) => total + ledger[of], 0);
    const report = {
      ...{ broker, minutes, seed, devices: options.devices, counts, owed, drainMs, buried, deaths },
      ...{ kills: harm.kills, faults: harm.faults },
      ...{ refused: sum('refused'), unknown: sum('unknown'), unheard: sum('unheard') },
      usageLines: usage.length,
      usageTwice: countedTwice(usage),
    };
    const isToBeKept = options.keep || !isWell(report) || deaths.length > 0 || report.usageTwice.length > 0;
    if (!isToBeKept) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    return { ...report, folder: isToBeKept ? folder : undefined };
  } finally {
    endNow();
    for (const part of owned) if (!(part instanceof KeptProgram)) await part.stop();
    process.off('exit', onExit);
  }
}

/** Nothing lost, nothing answered in two ways. */
export function isWell({ counts, owed }: Pick<ChaosReport, 'counts' | 'owed'>): boolean {
  return (
    owed === 0 &&
    Object.values(counts).every(
      ({ lost, lostFiles, lostFeedInputs, duplicated }) =>
        lost + lostFiles + lostFeedInputs + duplicated === 0,
    )
  );
}

function progress(place: Place, harm: Harm, loads: readonly Load[], what: string): string {
  const sum = (of: Readonly<Record<string, number>>): number =>
    Object.values(of).reduce((total, one) => total + one, 0);
  const accepted = loads.reduce((total, { ledger }) => total + ledger.accepted.length, 0);
  const down = [place.broker, place.hub, ...place.devices.map(({ program }) => program)]
    .filter(({ isUp }) => !isUp)
    .map(({ name }) => name);
  return [
    `${accepted} accepted`,
    `${sum(harm.kills)} kills`,
    `${sum(harm.faults)} faults`,
    what,
    ...(down.length > 0 ? [`down: ${down.join(', ')}`] : []),
  ].join(' · ');
}

const pipelines = z.object({
  link: z.object({ online: z.boolean(), outbox: z.object({ entries: z.int(), deadLetters: z.int() }) }),
});

async function linkOf(device: Device): Promise<z.infer<typeof pipelines>['link'] | undefined> {
  try {
    const response = await fetch(`${device.url}/v1/pipelines`, { signal: AbortSignal.timeout(5_000) });
    return pipelines.parse(await response.json()).link;
  } catch {
    return undefined;
  }
}

/** Files that were put there and not taken yet. */
async function filesLeft({ inputFolder }: Device): Promise<number> {
  return (await readdir(inputFolder)).filter((name) => !name.startsWith('.')).length;
}

/** Waits until no device is owed anything. @returns what is owed when the limit is reached */
async function drain(place: Place, signal: AbortSignal, tell: (left: string) => void): Promise<number> {
  const limitMonoMs = performance.now() + DRAIN_LIMIT_MS;
  for (let told = 0; ; told++) {
    const owed = await Promise.all(
      place.devices.map(async (device) => {
        const link = await linkOf(device);
        return (link?.outbox.entries ?? 1) + (await filesLeft(device));
      }),
    );
    const left = owed.reduce((total, one) => total + one, 0);
    if (told % 4 === 0) tell(String(left));
    if (left === 0 || performance.now() > limitMonoMs) return left;
    await delay(POLL_MS, undefined, { signal });
  }
}

async function leftBy({ folder }: Device): Promise<Left> {
  const results: Result[] = [];
  const deadLetters: Result[] = [];
  for (const name of PIPELINES) {
    results.push(...(await lines(join(folder, 'results', `${name}.ndjson`), result)));
    const dead = await lines(join(folder, 'dead-letters', `${name}.ndjson`), z.object({ result }));
    deadLetters.push(...dead.map((one) => one.result));
  }
  return { results, deadLetters };
}

const usageLine = z.object({ who: z.string(), requestId });

async function usageLines(folder: string): Promise<z.infer<typeof usageLine>[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.ndjson')).sort();
  return (await Promise.all(names.map((name) => lines(join(folder, name), usageLine)))).flat();
}

/** A line that does not parse is a defect, and fails the run. */
async function lines<T>(path: string, schema: z.ZodType<T>): Promise<T[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  const whole = text.split('\n').filter((line) => line !== '');
  return whole.map((line) => schema.parse(tryParseJson(Buffer.from(line))));
}

async function untilTrue(what: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  while (!(await what())) await delay(POLL_MS, undefined, { signal });
}
