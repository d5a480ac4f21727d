/**
 * One run: make releases, install the first on devices, roll the others out and kill at random for as many kills as are wanted, let everything
 * come up, bring a last version to all, and hold what there is against what was asked for.
 */
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { versionBehind } from '../../../cli/device/versions.ts';
import { deviceList } from '../../../shared/contract/admin.ts';
import { agentReleaseList } from '../../../shared/contract/agent-releases.ts';
import { AGENT_NAME } from '../../../shared/contract/releases.ts';
import { isUnderWay, rolloutList } from '../../../shared/contract/rollouts.ts';
import { seededRandom } from '../../../shared/runtime/random.ts';
import { add } from '../histogram.ts';
import type { Death } from '../kept-program.ts';
import { inOwnFolder } from '../own-folder.ts';
import { judge, type Ledger } from '../updates/judge.ts';
import { Operator } from '../updates/operator.ts';
import type { UpdateChaosOptions } from '../updates/run.ts';
import { Watch } from '../updates/watch.ts';
import { AgentVersions } from './agent-versions.ts';
import { notWhole } from './device-disk.ts';
import { Kills } from './kills.ts';
import { type ManagedPlace, startManagedPlace } from './place.ts';
import { Probe, type Said } from './probe.ts';
import { FIRST } from './releases.ts';

/** What it found. */
export interface AgentChaosReport extends Pick<UpdateChaosOptions, 'seed' | 'devices'> {
  readonly minutes: number;
  /** By target. */
  readonly kills: Readonly<Record<string, number>>;
  readonly onAgents: Readonly<Record<string, number>>;
  readonly onRoot: Readonly<Record<string, number>>;
  readonly onHub: Readonly<Record<string, number>>;
  /** Runs of root's part, by how they ended. */
  readonly rootRuns: Readonly<Record<string, number>>;
  /** By their state in the end. */
  readonly rollouts: Readonly<Record<string, number>>;
  readonly orders: { readonly confirmed: number; readonly unsure: number };
  /** By device. */
  readonly said: Readonly<Record<string, Said>>;
  /** Devices that did not answer. */
  readonly silent: readonly string[];
  /** What is not a whole version that works, where a device would start it. */
  readonly halfApplied: readonly string[];
  /** Of rollouts. */
  readonly unasked: readonly string[];
  /** Devices that did not come to the last version. */
  readonly behind: readonly string[];
  /** Of hub and broker: an agent that does not start is part of the run. */
  readonly deaths: readonly Death[];
  /** Where everything lies; undefined when it has been removed. */
  readonly folder: string | undefined;
}

/** An agent that is up and does not answer. */
const MAX_SILENCE_MS = 30_000;
/** Over all kills: one after another, on a machine that has other work. */
const MAX_GAP_MS = 180_000;
const SETTLE_LIMIT_MS = 240_000;
const LAST_TRIES = 3;
const POLL_MS = 500;
/** What is under way for longer is ended by its operator. */
const PATIENCE_MS = 120_000;
const NO_GATES = {
  ...{ agreement: null, escalation: null, errors: null, latencyP95: null, memory: null, link: null },
};

/** Every device has had an agent that starts, and every rollout is as somebody wanted it. */
export const isWell = ({
  silent,
  halfApplied,
  unasked,
  behind,
}: Pick<AgentChaosReport, 'silent' | 'halfApplied' | 'unasked' | 'behind'>): boolean =>
  silent.length + halfApplied.length + unasked.length + behind.length === 0;

export function runAgentChaos(options: UpdateChaosOptions): Promise<AgentChaosReport> {
  const { onProgress, seed, kills: count, devices } = options;
  return inOwnFolder(
    options,
    async (folder, own) => {
      onProgress('making releases, starting …');
      const random = seededRandom(seed);
      let watch: Watch | undefined;
      const kills = new Kills({ random: random.fork('kills'), count, hubStates: () => watch?.states ?? [] });
      const place = await startManagedPlace(folder, {
        ...{ count: devices, random: random.fork('devices'), own },
        onStep: (device, step) => kills.onStep(device, step),
      });
      watch = new Watch(place.client, devices);
      const report = await run(place, { ...options, kills, watch, random: random.fork('operator') });
      place.control.close();
      return report;
    },
    (report) => isWell(report) && report.deaths.length === 0,
  );
}

async function run(
  place: ManagedPlace,
  {
    kills,
    watch,
    random,
    signal,
    onProgress,
    seed,
    devices: count,
  }: Omit<UpdateChaosOptions, 'kills'> & {
    readonly kills: Kills;
    readonly watch: Watch;
    readonly random: ReturnType<typeof seededRandom>;
  },
): Promise<Omit<AgentChaosReport, 'folder'>> {
  const startedMonoMs = performance.now();
  const { client, hub, broker, devices } = place;
  const ledger: Ledger = { started: [], ordered: [] };
  const versions = new AgentVersions(random.fork('versions'));
  const operator = new Operator({
    ...{ client, model: AGENT_NAME, versions, gates: NO_GATES, minAnswers: 0, patienceMs: PATIENCE_MS },
    ...{ random, ledger },
  });
  const probes = devices.map((device) => new Probe(device));
  const tell = setInterval(() => {
    const wrong = [...kills.wrong, ...watch.wrong];
    const runs = devices.flatMap((one) => Object.values(one.rootRuns)).reduce((sum, one) => sum + one, 0);
    onProgress(
      `${kills.done} kills · ${ledger.started.length} rollouts · root’s part ran ${runs} times · ${wrong.length} wrong${wrong.length > 0 ? ` (${wrong[0]})` : ''}`,
    );
  }, 1_000);
  for (const device of devices) device.keepUp();
  for (const part of [...probes, watch, operator]) part.start();
  try {
    await kills.run(place, signal);
    await operator.stop();
    onProgress('all is up again; a last version is brought to all …');
    const behind = await lastVersion(place, operator, signal);
    await Promise.all([...probes, watch, ...devices].map((part) => part.stop()));
    const rollouts = await client.getAll('/api/v1/rollouts', rolloutList, 'rollouts');
    const { deployed } = await client.get('/api/v1/agent-releases', agentReleaseList);
    const onDisk = await Promise.all(devices.map((device) => notWhole(device, place.releases)));
    for (const program of [...devices.map(({ agent }) => agent), hub, broker]) await program.stop();
    const confirmed = ledger.ordered.filter((one) => one.confirmed).length;
    const rootRuns: Record<string, number> = {};
    for (const device of devices)
      for (const [how, many] of Object.entries(device.rootRuns))
        for (let one = 0; one < many; one++) add(rootRuns, how);
    const states: Record<string, number> = {};
    for (const { state } of rollouts) add(states, state);
    return {
      ...{ seed, devices: count, minutes: (performance.now() - startedMonoMs) / 60_000 },
      ...{ kills: kills.byTarget, onAgents: kills.onAgents, onRoot: kills.onRoot, onHub: kills.onHub },
      ...{ rootRuns, rollouts: states },
      orders: { confirmed, unsure: ledger.ordered.length - confirmed },
      said: Object.fromEntries(devices.map(({ id }, at) => [id, probes[at]?.said ?? NOTHING_SAID])),
      silent: devices.flatMap(({ id }, at) => silenceOf(id, probes[at]?.said ?? NOTHING_SAID)),
      halfApplied: [...kills.wrong, ...onDisk.flat()],
      unasked: [
        ...new Set([
          ...watch.wrong,
          ...judge(rollouts, ledger, { [AGENT_NAME]: deployed }, { [AGENT_NAME]: FIRST }),
        ]),
      ],
      behind,
      deaths: [hub, broker].flatMap((program) => program.deaths),
    };
  } finally {
    clearInterval(tell);
  }
}

const NOTHING_SAID: Said = { answered: 0, longestSilenceMs: 0, longestGapMs: 0 };

function silenceOf(id: string, { answered, longestSilenceMs, longestGapMs }: Said): string[] {
  const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;
  return [
    ...(answered === 0 ? [`${id} has never answered`] : []),
    ...(longestSilenceMs > MAX_SILENCE_MS
      ? [`${id} was up and silent for ${seconds(longestSilenceMs)}`]
      : []),
    ...(longestGapMs > MAX_GAP_MS ? [`${id} has answered nothing for ${seconds(longestGapMs)}`] : []),
  ];
}

/**
 * A version that works for all. One that a device refuses with a reason is as it should be (it was not up in time on this machine): another one then.
 *
 * @returns devices that run another one
 */
async function lastVersion(place: ManagedPlace, operator: Operator, signal: AbortSignal): Promise<string[]> {
  let behind: string[] = [];
  for (let tries = 0; tries < LAST_TRIES; tries++) {
    const wanted = await operator.finish();
    const giveUp = performance.now() + SETTLE_LIMIT_MS;
    let isRefused = false;
    do {
      await delay(POLL_MS, undefined, { signal });
      const told = await place.client.getAll('/api/v1/devices', deviceList, 'devices').catch(() => []);
      const updateOf = (id: string) => told.find((one) => one.id === id)?.reported?.agent?.update;
      isRefused = place.devices.some(({ id }) => {
        const update = updateOf(id);
        return update?.version === wanted && update.phase === 'rolled-back';
      });
      behind = [];
      for (const { id, place: at } of place.devices) {
        const current = await versionBehind(at, 'current');
        const update = updateOf(id);
        const isThere = update?.version === wanted && update.phase === 'committed';
        if (!isThere || current === undefined || basename(current) !== wanted)
          behind.push(`${id} has not come to ${wanted}: ${update?.phase} ${update?.error?.message ?? ''}`);
      }
      const rollouts = await place.client.getAll('/api/v1/rollouts', rolloutList, 'rollouts').catch(() => []);
      for (const { id, state, reason } of rollouts)
        if (isUnderWay(state)) behind.push(`${id} is ${state}: ${reason}`);
    } while (behind.length > 0 && performance.now() < giveUp && !isRefused);
    if (behind.length === 0) return [];
  }
  return behind;
}
