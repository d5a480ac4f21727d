/**
 * One run: start everything, roll versions out and kill at random for as many kills as are wanted, let everything come up, bring a last
 * version to all, and hold what there is against what was asked for.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { deviceList, modelList } from '../../../shared/contract/admin.ts';
import { isUnderWay, type RolloutRecord, rolloutList } from '../../../shared/contract/rollouts.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { seededRandom } from '../../../shared/runtime/random.ts';
import { type Death, stopAll } from '../kept-program.ts';
import { inOwnFolder, type OwnFolderOptions } from '../own-folder.ts';
import { halfApplied } from './device-disk.ts';
import { judge, type Ledger } from './judge.ts';
import { Kills } from './kills.ts';
import { ModelVersions } from './model-versions.ts';
import { Operator } from './operator.ts';
import { MODELS, startUpdatedPlace, type UpdatedPlace } from './place.ts';
import { type FirstAnswers, Probe, type Said } from './probe.ts';
import { Watch } from './watch.ts';

/** How much is killed, and of what. */
export interface UpdateChaosOptions extends OwnFolderOptions {
  readonly kills: number;
  readonly seed: number;
  readonly devices: number;
  readonly onProgress: (line: string) => void;
}

/** What it found. */
export interface UpdateChaosReport extends Pick<UpdateChaosOptions, 'seed' | 'devices'> {
  readonly minutes: number;
  /** By target. */
  readonly kills: Readonly<Record<string, number>>;
  readonly onDevices: Readonly<Record<string, number>>;
  readonly onHub: Readonly<Record<string, number>>;
  /** Processes that make differences, and those that make files of them. */
  readonly onHelpers: Readonly<Record<string, number>>;
  readonly pushes: number;
  readonly versions: number;
  /** By their state in the end. */
  readonly rollouts: Readonly<Record<string, number>>;
  readonly orders: { readonly confirmed: number; readonly unsure: number };
  /** By device. */
  readonly said: Readonly<Record<string, Said>>;
  /** Devices that did not answer. */
  readonly silent: readonly string[];
  /** Versions that were not whole, or not the ones that they were taken for. */
  readonly halfApplied: readonly string[];
  /** Of rollouts. */
  readonly unasked: readonly string[];
  /** Devices that did not come to the last version. */
  readonly behind: readonly string[];
  readonly deaths: readonly Death[];
  /** Where everything lies; undefined when it has been removed. */
  readonly folder: string | undefined;
}

/** A runner that was killed is there again within seconds; more is a device that does not answer. */
const MAX_SILENCE_MS = 30_000;
const SETTLE_LIMIT_MS = 180_000;
const LAST_TRIES = 3;
/** What is under way for longer is ended by its operator. */
const PATIENCE_MS = 45_000;
const NO_GATES = { agreement: null, escalation: null, errors: null, latencyP95: null, memory: null };
const POLL_MS = 500;

export function runUpdateChaos(options: UpdateChaosOptions): Promise<UpdateChaosReport> {
  return inOwnFolder(
    options,
    async (folder, own) => {
      options.onProgress('starting …');
      const place = await startUpdatedPlace(folder, options.devices, (program) => own(() => [program]));
      return run(place, folder, options);
    },
    (report) => isWell(report) && report.deaths.length === 0,
  );
}

/** Every device has answered by whole versions, and every rollout is as somebody wanted it. */
export const isWell = ({
  silent,
  halfApplied: half,
  unasked,
  behind,
}: Pick<UpdateChaosReport, 'silent' | 'halfApplied' | 'unasked' | 'behind'>): boolean =>
  silent.length + half.length + unasked.length + behind.length === 0;

async function run(
  place: UpdatedPlace,
  folder: string,
  { kills: count, seed, devices, signal, onProgress }: UpdateChaosOptions,
): Promise<Omit<UpdateChaosReport, 'folder'>> {
  const random = seededRandom(seed);
  const startedMonoMs = performance.now();
  const given = new Set<string>();
  for (const { name } of MODELS) given.add((await openModelFolder(join(folder, 'models', name))).digest);
  const known = new Set(given);
  const ledger: Ledger = { started: [], ordered: [] };
  const first: FirstAnswers = new Map();
  const versions = MODELS.map(
    ({ name: model }) => new ModelVersions({ place, model, folder, onMade: (digest) => known.add(digest) }),
  );
  const operators = versions.map(
    (of, at) =>
      new Operator({
        ...{ client: place.client, model: MODELS[at]?.name ?? '', versions: of, ledger },
        ...{ gates: NO_GATES, minAnswers: 20, patienceMs: PATIENCE_MS },
        random: random.fork(`operator of ${MODELS[at]?.name}`),
      }),
  );
  const isKnown = (digest: string): boolean => known.has(digest);
  const probes = place.devices.map((device) => new Probe({ device, inputs: place.inputs, first, isKnown }));
  const watch = new Watch(place.client, devices);
  const kills = new Kills({
    ...{ place, random: random.fork('kills'), count, given },
    hubStates: () => [...watch.states, ...(versions.some(({ isPushing }) => isPushing) ? ['a push'] : [])],
    killPush: () => versions.some((one) => one.killPush()),
  });
  const tell = setInterval(() => {
    const rollouts = ledger.started.filter(({ confirmed }) => confirmed).length;
    const down = [place.broker, place.hub, ...place.devices.map(({ program }) => program)].filter(
      ({ isUp }) => !isUp,
    );
    const wrong = [...kills.wrong, ...watch.wrong, ...probes.flatMap((probe) => probe.wrong)];
    onProgress(
      `${kills.done} of ${count} kills · ${rollouts} rollouts · ${probes.reduce((sum, { said }) => sum + said.switched, 0)} switches of versions · ${wrong.length} wrong${wrong.length > 0 ? ` (${wrong[0]})` : ''}${down.length > 0 ? ` · down: ${down.map(({ name }) => name).join(', ')}` : ''}`,
    );
  }, 1_000);
  for (const part of [...probes, watch, ...operators]) part.start();
  try {
    await kills.run(signal);
    await Promise.all(operators.map((one) => one.stop()));
    onProgress('all is up again; a last version is brought to all …');
    const behind = await lastVersion(place, operators, probes, signal);
    await Promise.all([...probes, watch].map((part) => part.stop()));
    const rollouts = await place.client.getAll('/api/v1/rollouts', rolloutList, 'rollouts');
    const models = await place.client.getAll('/api/v1/models', modelList, 'models');
    const deployed = Object.fromEntries(models.map((one) => [one.name, one.deployed]));
    const firstDeployed = Object.fromEntries(MODELS.map(({ name }) => [name, '1']));
    const deaths = await stopAll(place);
    const onDisk = await Promise.all(place.devices.map((device) => halfApplied(device, given)));
    const ordersConfirmed = ledger.ordered.filter(({ confirmed }) => confirmed).length;
    return {
      ...{ seed, devices, minutes: (performance.now() - startedMonoMs) / 60_000 },
      ...{
        kills: kills.byTarget,
        onDevices: kills.onDevices,
        onHub: kills.onHub,
        onHelpers: kills.onHelpers,
      },
      pushes: versions.reduce((sum, one) => sum + one.pushes, 0),
      versions: versions.reduce((sum, one) => sum + one.published.length, 0),
      rollouts: byState(rollouts),
      orders: { confirmed: ordersConfirmed, unsure: ledger.ordered.length - ordersConfirmed },
      said: Object.fromEntries(place.devices.map(({ id }, at) => [id, probes[at]?.said ?? NOTHING_SAID])),
      silent: place.devices.flatMap(({ id }, at) => {
        const silenceMs = probes[at]?.said.longestSilenceMs ?? 0;
        return silenceMs > MAX_SILENCE_MS
          ? [`${id} was up and silent for ${Math.round(silenceMs / 1_000)} s`]
          : [];
      }),
      halfApplied: [...kills.wrong, ...probes.flatMap(({ wrong }) => wrong), ...onDisk.flat()],
      unasked: [...new Set([...watch.wrong, ...judge(rollouts, ledger, deployed, firstDeployed)])],
      behind,
      deaths,
    };
  } finally {
    clearInterval(tell);
  }
}

const NOTHING_SAID: Said = { answered: 0, failed: {}, switched: 0, longestSilenceMs: 0 };

function byState(rollouts: readonly RolloutRecord[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { state } of rollouts) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

/**
 * A new version for all. One that a device refuses with a reason is as it should be (too slow beside others on this machine): another one then.
 *
 * @returns devices that answer by another one
 */
async function lastVersion(
  place: UpdatedPlace,
  operators: readonly Operator[],
  probes: readonly Probe[],
  signal: AbortSignal,
): Promise<string[]> {
  let behind: string[] = [];
  for (let tries = 0; tries < LAST_TRIES; tries++) {
    const wanted = await Promise.all(operators.map((one) => one.finish()));
    const giveUp = performance.now() + SETTLE_LIMIT_MS;
    do {
      await delay(POLL_MS, undefined, { signal });
      behind = await notAt(place, probes, wanted);
    } while (behind.length > 0 && performance.now() < giveUp && !(await isRefused(place, wanted)));
    if (behind.length === 0) return [];
  }
  return behind;
}

/** Who answers by another version, has not committed it, and which rollouts have not ended. */
async function notAt(
  { client, devices }: UpdatedPlace,
  probes: readonly Probe[],
  wanted: readonly string[],
): Promise<string[]> {
  const told = await client.getAll('/api/v1/devices', deviceList, 'devices').catch(() => []);
  const rollouts = await client.getAll('/api/v1/rollouts', rolloutList, 'rollouts').catch(() => []);
  return [
    ...devices.flatMap(({ id }, at) =>
      MODELS.flatMap(({ name }, model) => {
        const updates = told.find((one) => one.id === id)?.reported?.updates ?? [];
        const isThere = updates.some(
          (one) => one.model.digest === wanted[model] && one.phase === 'committed',
        );
        return isThere && probes[at]?.digestOf(name) === wanted[model]
          ? []
          : [`${id} has not come to the last version of ${name}`];
      }),
    ),
    ...rollouts
      .filter(({ state }) => isUnderWay(state))
      .map(({ id, state, reason }) => `${id} is ${state}: ${reason}`),
  ];
}

/** Whether a device has said why it does not take one of them. */
async function isRefused({ client }: UpdatedPlace, wanted: readonly string[]): Promise<boolean> {
  const devices = await client.getAll('/api/v1/devices', deviceList, 'devices').catch(() => []);
  return devices.some(({ reported }) =>
    reported?.updates?.some(({ model, phase }) => phase === 'rolled-back' && wanted.includes(model.digest)),
  );
}
