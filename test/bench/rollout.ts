/**
 * `npm run bench:rollout`: how often the gates of a rollout are wrong, over simulated rollouts by the default plan: how often a version that
 * is no worse is stopped, and how many devices one that is worse reaches. By the product's own gates; the fleet does not exist.
 *
 * node … test/bench/rollout.ts [--runs 500] [--devices 100] [--world 0] [--kinds 2]   (one of the four worlds; the first kinds of versions)
 */
import { parseArgs } from 'node:util';
import type { FleetShape, VersionBehaviour } from '../../cloud/rollout/simulation/fleet.ts';
import { allOf, type SimulatedRun, simulateRollout } from '../../cloud/rollout/simulation/simulate.ts';
import { decidingBy, worsened } from '../../cloud/rollout/simulation/simulator.ts';
import { type RolloutDefect, rolloutPlan } from '../../shared/contract/rollouts.ts';
import { seededRandom } from '../../shared/runtime/random.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '500' },
    devices: { type: 'string', default: '100' },
    world: { type: 'string' },
    kinds: { type: 'string' },
  },
});
const RUNS = Number(values.runs);
const DEVICES = Number(values.devices);
/** What issue after issue may not undo. */
const GOAL = 0.05;

const BEFORE: VersionBehaviour = {
  ...{ disagreement: 0.1, escalated: 0.2, failures: 0.001, p95Ms: 50, memoryBytes: 150e6, crashes: 0 },
};
const ALIKE: FleetShape = {
  ...{ devices: DEVICES, answersPerMinute: 10, spread: 0, rates: 1, history: 20_000 },
  ...{ hasCloud: true, drift: null },
};
const DIFFERENT: FleetShape = { ...ALIKE, spread: 0.04, rates: 2 };
const WORLDS: Readonly<Record<string, FleetShape>> = {
  'devices that are alike': ALIKE,
  'devices that differ': DIFFERENT,
  '… and inputs that become harder by 5 points in the midst': {
    ...DIFFERENT,
    drift: { atMinute: 60, disagreement: 0.05 },
  },
  '… of which little is known from before': { ...DIFFERENT, history: 500 },
};
const DEFECTS: readonly [string, RolloutDefect | null, number][] = [
  ['no worse', null, 0],
  ['loses 2 points of agreement', 'agreementDrop', 0.02],
  ['loses 5 points of agreement', 'agreementDrop', 0.05],
  ['fails 2 of 100 inputs more', 'errorRise', 0.02],
  ['twice as slow', 'slower', 2],
  ['crashes on a tenth of the devices', 'crash', 0.1],
  ['twice the memory', 'memory', 2],
];

const plan = rolloutPlan.parse({});
const tenth = Math.max(1, Math.ceil(0.1 * DEVICES));
const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
const span = (minutes: number): string =>
  minutes < 120
    ? `${Math.round(minutes)} min`
    : minutes < 48 * 60
      ? `${(minutes / 60).toFixed(1)} h`
      : `${(minutes / 1_440).toFixed(1)} d`;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const broken: string[] = [];
/** That each kind of version took. */
const seconds: number[] = [];
const LINE_EVERY_MS = 30_000;
let toldMonoMs = performance.now();
/** Where it is: at a terminal always, else a line now and then. */
function tell(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${line}`);
  else if (line !== '' && performance.now() - toldMonoMs > LINE_EVERY_MS) {
    toldMonoMs = performance.now();
    console.error(line);
  }
}
console.log(
  `${RUNS} rollouts of each kind to ${DEVICES} devices, 10 answers a minute each, stages 1, 10 %, 50 %, 100 %, the gates as they are by default.\n`,
);
for (const [index, [world, shape]] of Object.entries(WORLDS).entries()) {
  if (values.world !== undefined && Number(values.world) !== index) continue;
  console.log(`**${world[0]?.toUpperCase()}${world.slice(1)}**\n`);
  console.log(
    '| version | stopped | done | waiting after 30 days | devices reached, median (95 %) | over a tenth | until the end, median (95 %) |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const [name, defect, by] of DEFECTS.slice(0, Number(values.kinds ?? DEFECTS.length))) {
    const next = worsened(BEFORE, defect, { defects: defect ? { [defect]: by } : {} });
    const runs: SimulatedRun[] = [];
    const startedMonoMs = performance.now();
    for (let seed = 1; seed <= RUNS; seed++) {
      tell(`${world}, ${name}: ${seed - 1} of ${RUNS}`);
      const random = seededRandom(seed).fork('rollout').next;
      runs.push(allOf(simulateRollout(plan, shape, { before: BEFORE, next }, decidingBy(plan), random)));
    }
    const share = (is: (run: SimulatedRun) => boolean): number => runs.filter(is).length / RUNS;
    const reached = runs.map((run) => run.reached).sort((one, other) => one - other);
    const minutes = runs.map((run) => run.minutes).sort((one, other) => one - other);
    const over = share((run) => run.reached > tenth);
    const halted = share(({ end }) => end === 'halted');
    const cells = [
      ...[
        name,
        percent(halted),
        percent(share(({ end }) => end === 'done')),
        percent(share(({ end }) => end === 'stuck')),
      ],
      ...[
        `${at(reached, 0.5)} (${at(reached, 0.95)})`,
        percent(over),
        `${span(at(minutes, 0.5))} (${span(at(minutes, 0.95))})`,
      ],
    ];
    tell('');
    console.log(`| ${cells.join(' | ')} |`);
    seconds.push((performance.now() - startedMonoMs) / 1_000);
    if (defect === null && halted > GOAL)
      broken.push(`${world}: stopped ${percent(halted)} of versions that are no worse`);
    if (name === 'loses 2 points of agreement' && over > GOAL)
      broken.push(`${world}: ${percent(over)} of versions that lose 2 points reach over a tenth`);
  }
  console.log();
}
const took = seconds.reduce((sum, one) => sum + one, 0);
console.log(
  `${Math.round(took)} s in all, ${Math.round(Math.max(...seconds))} s the longest kind of version.`,
);
for (const one of broken) console.log(`BROKEN: ${one}`);
process.exitCode = broken.length === 0 ? 0 : 1;
