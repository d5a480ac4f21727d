/** What is required of the figures (docs/design/router.md 5), and whether a run met it. */
import type { Verdict } from '../../harness.ts';
import { LARGEST_DRIFT, NO_DRIFT, ROUTER } from '../experiments/drift.ts';
import { AS_USUAL, DELTA } from '../experiments/guarantee.ts';
import { ONE_EACH } from '../experiments/labels.ts';
import { UNSAFE_STREAM } from '../experiments/streams.ts';
import type { DriftRow, GuaranteeRow, LabelRow, StreamRow, TimingRow } from '../results.ts';

const MAX_RATIO_TO_ORACLE = 1.35;
const MAX_CALLS = 0.32;
const MAX_DELAY = 900;
const MAX_WRONG_PER_1000 = 20;
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
