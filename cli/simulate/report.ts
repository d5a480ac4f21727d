/** What a simulation has found: as a value, and as the text that people read. Shares are 0..1. */
import { table } from '../output.ts';
import type { Captures } from './captures.ts';
import type { Point, Pool, ThresholdPoint } from './pool.ts';
import type { Bootstrap, InOrder, Instead, Promised } from './replay.ts';

/** Findings of a simulation, for people and for `--json`. */
export interface Report {
  readonly captures: number;
  /** Some stand for more requests than others do. */
  readonly areWeighted: boolean;
  /** Local answers that no score could be read from: escalated by every way. */
  readonly unreadable: number;
  /** Scores that very many shared; their ties were broken by chance. */
  readonly spread: number;
  /** Half the width of a 95 % interval of an agreement as promised, for so many captures. */
  readonly uncertainty: number;
  readonly promised: Promised;
  readonly edgeOnly: Point;
  /** At each tenth of the requests escalated. */
  readonly curve: readonly Point[];
  readonly oracle: ThresholdPoint;
  readonly fixed: readonly Fixed[];
  /** Null when they were replayed in order. */
  readonly drawn: (Bootstrap & { readonly runs: number }) | null;
  readonly inOrder: InOrder | null;
}

/** A threshold that nobody has learned. */
interface Fixed extends Point {
  readonly name: string;
}

/** Rounding of sums. */
const EPSILON = 1e-9;
const PROBABILITIES = [0.5, 0.8, 0.9];
/** Shares escalated, where there are no probabilities. */
const QUANTILES = [0.1, 0.3, 0.5];

/** Puts a replay beside what is known exactly of the captures: edge only, the curve, the best threshold. */
export function reportOf(
  captures: Captures,
  pool: Pool,
  promised: Promised,
  replayed: Pick<Report, 'drawn' | 'inOrder'>,
): Report {
  const { agreement } = promised;
  const oracle = pool.oracle(agreement);
  const counting = promised.scope === 'all' ? 1 : 1 - oracle.escalated;
  return {
    captures: pool.size,
    areWeighted: pool.effectiveSize < (1 - EPSILON) * pool.size,
    unreadable: captures.unreadable,
    spread: captures.spread,
    uncertainty: 1.96 * Math.sqrt((agreement * (1 - agreement)) / Math.max(1, counting * pool.effectiveSize)),
    promised,
    edgeOnly: pool.byShare(0),
    curve: pool.curve(10),
    oracle,
    fixed: fixedOf(pool),
    ...replayed,
  };
}

function fixedOf(pool: Pool): Fixed[] {
  const byProbability = PROBABILITIES.flatMap((least) => {
    const point = pool.byProbability(least);
    return point ? [{ name: `probability from ${least}`, ...point }] : [];
  });
  if (byProbability.length > 0) return byProbability;
  return QUANTILES.map((share) => ({
    name: `all but the lowest ${percent(share, 0)}`,
    ...pool.byShare(share),
  }));
}

/** @param picture says where the figure is, or how to have one */
export function textOf(report: Report, picture: string): string {
  const { curve, drawn, inOrder } = report;
  const shares = table(
    ['escalated', 'agreement'],
    curve.map(({ escalated, agreement }) => [percent(escalated, 0), percent(agreement)]),
    { colAligns: ['right', 'right'] },
  );
  return [
    headOf(report),
    `${shares}\n`,
    `${waysOf(report)}\n`,
    ...(inOrder ? [`${stretchesOf(inOrder)}\n`, ...driftsOf(inOrder)] : []),
    ...(drawn && drawn.falseAlarms > 0
      ? [`False alarms of drift: ${drawn.falseAlarms} in ${drawn.runs} runs.`]
      : []),
    ...insteadOf(report),
    picture,
  ].join('\n');
}

function headOf({
  captures,
  areWeighted,
  unreadable,
  spread,
  uncertainty,
  promised,
  inOrder,
}: Report): string {
  const { agreement, confidence, scope } = promised;
  const whose = scope === 'all' ? 'all answers are' : 'the local answers are';
  return [
    `Promise: with ${percent(confidence, 0)} confidence, ${percentOf(agreement)} of ${whose} the cloud’s.`,
    `${captures.toLocaleString('en')} captures: an agreement of ${percentOf(agreement)} is known to ±${(100 * uncertainty).toFixed(2)} points.`,
    ...(unreadable > 0
      ? [`${unreadable} local answers have no score that can be read: always escalated.`]
      : []),
    ...(spread > 0 ? [`${spread} scores are shared by very many; their order was drawn by lot.`] : []),
    ...(areWeighted && inOrder
      ? [
          'In order each capture is one request, whatever its weight: shares of that replay are not those of all requests.',
        ]
      : []),
    '',
  ].join('\n');
}

/** All ways to decide, from none to ours. */
function waysOf({ edgeOnly, oracle, fixed, promised, drawn, inOrder }: Report): string {
  const verdict = ({ agreement }: Point): string =>
    agreement >= promised.agreement - EPSILON ? 'kept' : 'broken';
  const row = (name: string, point: Point, calls = '–', kept = verdict(point)): string[] => [
    name,
    percent(point.escalated, 1),
    calls,
    percent(point.agreement),
    kept,
  ];
  const rows = [
    row('edge only', edgeOnly),
    ...fixed.map((one) => row(one.name, one)),
    ...(drawn?.learned ?? []).map((one) =>
      row(
        `learned, ${one.requests.toLocaleString('en')} requests`,
        one,
        percent(one.calls, 1),
        `broken in ${percent(one.broken, 0)} of ${drawn?.runs} runs`,
      ),
    ),
    ...(inOrder ? [row('learned, in order', inOrder.total, percent(inOrder.total.calls, 1))] : []),
    row('oracle threshold', oracle),
  ];
  return table(['', 'escalated', 'all calls', 'agreement', 'promise'], rows, {
    colAligns: ['left', 'right', 'right', 'right', 'left'],
  });
}

const stretchesOf = ({ stretches }: InOrder): string =>
  table(
    ['requests up to', 'escalated', 'all calls', 'agreement'],
    stretches.map(({ requests, escalated, calls, agreement }) => [
      requests.toLocaleString('en'),
      percent(escalated, 1),
      percent(calls, 1),
      percent(agreement),
    ]),
    { colAligns: ['right', 'right', 'right', 'right'] },
  );

const driftsOf = ({ drifts }: InOrder): string[] =>
  drifts.map(
    ({ request, why }) =>
      `Request ${request.toLocaleString('en')}: drift (${why}); everything is asked until a threshold is learned anew.`,
  );

/** Where the promise is not reached: why, and what could be promised. */
function insteadOf({ promised, drawn, inOrder, oracle }: Report): string[] {
  const instead: Instead | null =
    inOrder && !inOrder.hasThreshold
      ? { unreached: 1, reachable: inOrder.reachable }
      : (drawn?.instead ?? null);
  if (!instead) return [];
  const { unreached, reachable } = instead;
  const why =
    oracle.threshold === null
      ? 'no threshold on this score keeps it'
      : `the best threshold would escalate ${percent(oracle.escalated, 1)}`;
  const end = inOrder ? 'at the end' : `at the end of ${percent(unreached, 0)} of the runs`;
  return [
    `${percentOf(promised.agreement)} is not reached ${end}, and everything is asked: ${why}.`,
    reachable
      ? `${percentOf(reachable.agreement)} is reached, and escalates ${percent(reachable.escalated, 1)}: --agreement ${reachable.agreement}.`
      : 'No weaker promise down to 80 % is reached either.',
  ];
}

const percent = (share: number, digits = 2): string => `${(100 * share).toFixed(digits)} %`;
/** A promise, with the digits that it was given with. */
const percentOf = (share: number): string => `${Number((100 * share).toFixed(6))} %`;
