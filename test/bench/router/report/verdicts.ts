/** What is required of the figures (docs/design/router.md 5), and whether a run met it. */
import type { Verdict } from '../../harness.ts';
import { LARGEST_DRIFT, NO_DRIFT, ROUTER } from '../experiments/drift.ts';
import { AS_USUAL, DELTA } from '../experiments/guarantee.ts';
import { ONE_EACH } from '../experiments/labels.ts';
import { UNSAFE_STREAM } from '../experiments/streams.ts';
import type { DriftRow, FleetRow, GuaranteeRow, LabelRow, StreamRow, TimingRow } from '../results.ts';

const MAX_RATIO_TO_ORACLE = 1.35;
const MAX_CALLS = 0.32;
const MAX_DELAY = 900;
const MAX_WRONG_PER_1000 = 20;
/** Of what the first device asks within its first 1,000 requests, what the hundredth may. */
const MAX_OF_FIRST = 0.6;
/** In this fleet one device in twenty is unlike the others, and nobody can know which: its own audits have to find it. */
const UNLIKE = 'one device in twenty has 15 % confident errors';
/** Per 100 runs. */
const MAX_FALSE_ALARMS = 2;
const MAX_DECISION_US = 2;
const MAX_STATE_BYTES = 16 * 1024;

/** The most of `runs` that may break a promise kept with probability 1 - DELTA: two standard errors above. */
export const mostBroken = (runs: number): number => DELTA + 2 * Math.sqrt((DELTA * (1 - DELTA)) / runs);

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export function promiseVerdicts(rows: readonly GuaranteeRow[]): Verdict[] {
  const worst = highest(rows, ({ brokenByEvidence }) => brokenByEvidence);
  if (!worst) return [];
  const most = mostBroken(worst.runs);
  const reference = rows.filter(
    ({ world, how, alpha }) => world === 'calibrated' && how === AS_USUAL && alpha === 0.02,
  );
  return [
    {
      requirement: `Evidence breaks the promise in at most 5 % of the runs of each setting (${percent(most)} with two standard errors)`,
      measured: `at most ${percent(worst.brokenByEvidence)} (${worst.world}, ${worst.how})`,
      holds: rows.every(({ brokenByEvidence }) => brokenByEvidence <= most),
    },
    ...reference.flatMap(({ escalatedAt, oracle, escalated, audited }): Verdict[] => {
      const ratio = escalatedAt.at(-1)! / oracle;
      const calls = escalated + audited;
      return [
        {
          requirement: `calibrated, 98 %: after 20,000 requests the threshold escalates at most ${MAX_RATIO_TO_ORACLE} times the oracle's share`,
          measured: `${ratio.toFixed(2)} times`,
          holds: ratio <= MAX_RATIO_TO_ORACLE,
        },
        {
          requirement: `calibrated, 98 %: at most ${percent(MAX_CALLS)} of all requests ask the cloud, audits included`,
          measured: percent(calls),
          holds: calls <= MAX_CALLS,
        },
      ];
    }),
  ];
}

export function driftVerdicts(rows: readonly DriftRow[]): Verdict[] {
  return rows
    .filter(({ rule }) => rule === ROUTER)
    .flatMap(({ scenario, runs, falseAlarms, delayMedian, wrongPer1000 }): Verdict[] => {
      if (scenario === NO_DRIFT)
        return [
          {
            requirement: `No drift: at most ${MAX_FALSE_ALARMS} false alarms in 100 runs of 40,000 requests`,
            measured: `${falseAlarms} in ${runs}`,
            holds: falseAlarms <= (MAX_FALSE_ALARMS * runs) / 100,
          },
        ];
      if (scenario !== LARGEST_DRIFT) return [];
      return [
        {
          requirement: `${scenario}: noticed within ${MAX_DELAY} requests at the median`,
          measured: delayMedian === null ? 'never' : `${delayMedian}`,
          holds: delayMedian !== null && delayMedian <= MAX_DELAY,
        },
        {
          requirement: `${scenario}: at most ${MAX_WRONG_PER_1000} wrong answers per 1,000 requests after it`,
          measured: wrongPer1000.toFixed(1),
          holds: wrongPer1000 <= MAX_WRONG_PER_1000,
        },
      ];
    });
}

export const labelVerdicts = (rows: readonly LabelRow[]): Verdict[] =>
  rows
    .filter(({ ledgers }) => ledgers === ONE_EACH)
    .map(({ runs, rareBroken, commonBroken }) => ({
      requirement: `One ledger a label: each label's promise is broken in at most 5 % of runs (${percent(mostBroken(runs))} with two standard errors)`,
      measured: percent(Math.max(rareBroken, commonBroken)),
      holds: Math.max(rareBroken, commonBroken) <= mostBroken(runs),
    }));

export function fleetVerdicts(rows: readonly FleetRow[]): Verdict[] {
  const started = rows.filter(({ started, world }) => started > 0 && world !== UNLIKE);
  const worst = highest(started, ({ broken }) => broken);
  if (!worst) return [];
  const of = (wanted: string): FleetRow | undefined =>
    rows.find(({ world, device }) => world === 'calibrated' && device === wanted);
  const [first, hundredth] = [of('device 1'), of('device 100')];
  return [
    {
      requirement: `A start by the fleet breaks the promise on at most 5 % of devices (${percent(mostBroken(worst.runs))} with two standard errors), but where one in twenty is unlike the others`,
      measured: `at most ${percent(worst.broken)} (${worst.world}, ${worst.device})`,
      holds: started.every(({ broken, runs }) => broken <= mostBroken(runs)),
    },
    ...(first && hundredth
      ? [
          {
            requirement: `calibrated: the hundredth device asks for at most ${percent(MAX_OF_FIRST)} of what the first asks for within 1,000 requests`,
            measured: percent(hundredth.askedOf1000 / first.askedOf1000),
            holds: hundredth.askedOf1000 <= MAX_OF_FIRST * first.askedOf1000,
          },
        ]
      : []),
  ];
}

export const streamVerdicts = (rows: readonly StreamRow[]): Verdict[] =>
  rows
    .filter(({ stream }) => stream !== UNSAFE_STREAM)
    .map(({ stream, runs, broken }) => ({
      requirement: `${stream}: broken in at most 5 % of runs (${percent(mostBroken(runs))} with two standard errors)`,
      measured: percent(broken),
      holds: broken <= mostBroken(runs),
    }));

export const timingVerdicts = (rows: readonly TimingRow[]): Verdict[] =>
  rows.flatMap(({ decisionUs, memoryBytes, jsonBytes }) => [
    {
      requirement: `At most ${MAX_DECISION_US} µs a decision`,
      measured: `${decisionUs.toFixed(2)} µs`,
      holds: decisionUs <= MAX_DECISION_US,
    },
    {
      requirement: `At most ${MAX_STATE_BYTES.toLocaleString('en')} bytes of state`,
      measured: `${memoryBytes.toLocaleString('en')} bytes in memory, ${jsonBytes.toLocaleString('en')} on disk`,
      holds: Math.max(memoryBytes, jsonBytes) <= MAX_STATE_BYTES,
    },
  ]);

const highest = <R>(rows: readonly R[], of: (row: R) => number): R | undefined =>
  rows.reduce<R | undefined>(
    (best, row) => (best === undefined || of(row) > of(best) ? row : best),
    undefined,
  );
