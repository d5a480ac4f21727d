/** The columns of each table of a run, and how a table becomes Markdown. */
import { aligned, type Verdict } from '../../harness.ts';
import { ROUTER } from '../experiments/drift.ts';
import type { DriftRow, FleetRow, GuaranteeRow, LabelRow, StreamRow, TimingRow } from '../results.ts';

/** A column's head, and its cell of a row. */
export type Column<R> = readonly [head: string, cell: (row: R) => string];

export const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;
const count = (value: number | null): string =>
  value === null ? 'never' : Math.round(value).toLocaleString('en');
const orNothing = (value: number | null, text: (value: number) => string): string =>
  value === null ? '' : text(value);
export const promise = (alpha: number): string => percent(1 - alpha, 0);

export const GUARANTEE: readonly Column<GuaranteeRow>[] = [
  ['world', ({ world }) => world],
  ['promised', ({ alpha }) => promise(alpha)],
  ['how', ({ how }) => how],
  ['runs broken', ({ brokenByEvidence }) => percent(brokenByEvidence)],
  ['first certified', ({ firstMedian }) => count(firstMedian)],
  [
    'escalated at 1,000 / 2,000 / 5,000 / 20,000',
    ({ escalatedAt }) => escalatedAt.map((at) => percent(at)).join(' / '),
  ],
  ['oracle', ({ oracle }) => percent(oracle)],
  ['escalated + audited of all', ({ escalated, audited }) => `${percent(escalated)} + ${percent(audited)}`],
  ['wrong per 1,000', ({ wrongPer1000 }) => wrongPer1000.toFixed(1)],
  ['runs with an alarm', ({ alarmed }) => percent(alarmed)],
];

export const CERTIFICATES: readonly Column<GuaranteeRow>[] = [
  ['world', ({ world }) => world],
  ['promised', ({ alpha }) => promise(alpha)],
  ['start', ({ how }) => how],
  ['risk of the certificate', ({ certifiedRisk }) => orNothing(certifiedRisk, (risk) => percent(risk, 2))],
  ['runs with an alarm', ({ alarmed }) => percent(alarmed)],
  ['alarm after, median', ({ alarmMedian }) => orNothing(alarmMedian, count)],
  ['p90', ({ alarmP90 }) => orNothing(alarmP90, count)],
  ['in use for, median', ({ movedMedian }) => count(movedMedian)],
  ['escalated by it', ({ certifiedEscalated }) => orNothing(certifiedEscalated, percent)],
  ['at 2,000', ({ escalatedAt }) => percent(escalatedAt[1]!)],
  ['requests in violation', ({ inViolation }) => percent(inViolation)],
  ['wrong per 1,000', ({ wrongPer1000 }) => wrongPer1000.toFixed(1)],
];

export const DRIFT: readonly Column<DriftRow>[] = [
  ['shift', ({ scenario }) => scenario],
  ['rule', ({ rule }) => rule],
  ['false alarms', ({ rule, falseAlarms }) => (rule === ROUTER ? count(falseAlarms) : '')],
  ['runs that notice', ({ detected }) => orNothing(detected, (share) => percent(share, 0))],
  ['delay, median', ({ delayMedian }) => orNothing(delayMedian, count)],
  ['p90', ({ delayP90 }) => orNothing(delayP90, count)],
  ['wrong per 1,000', ({ wrongPer1000 }) => wrongPer1000.toFixed(1)],
  ['time in violation', ({ inViolation }) => percent(inViolation, 0)],
  ['escalated', ({ escalated }) => percent(escalated)],
  ['at the end', ({ escalatedAtEnd }) => percent(escalatedAtEnd)],
  ['oracle', ({ oracle }) => percent(oracle)],
];

export const LABELS: readonly Column<LabelRow>[] = [
  ['ledgers', ({ ledgers }) => ledgers],
  ['risk of all', ({ risk }) => percent(risk, 2)],
  ['risk of the rare label', ({ rareRisk }) => percent(rareRisk, 2)],
  ['runs above 2 % on it', ({ rareBroken }) => percent(rareBroken)],
  ['on the other', ({ commonBroken }) => percent(commonBroken)],
  ['escalated + audited of all', ({ escalated, audited }) => `${percent(escalated)} + ${percent(audited)}`],
];

export const FLEET: readonly Column<FleetRow>[] = [
  ['fleet', ({ world }) => world],
  ['device', ({ device }) => device],
  ['started', ({ started }) => percent(started, 0)],
  ['promise broken by it', ({ broken }) => percent(broken)],
  ['escalated by it', ({ escalated }) => orNothing(escalated, percent)],
  ['oracle', ({ oracle }) => percent(oracle)],
  ['asked until the first threshold', ({ askedUntilFirst }) => count(askedUntilFirst)],
  ['asked of the first 1,000', ({ askedOf1000 }) => count(askedOf1000)],
  ['of 2,000', ({ askedOf2000 }) => count(askedOf2000)],
  ['own evidence after', ({ ownMedian }) => orNothing(ownMedian, count)],
];

export const STREAMS: readonly Column<StreamRow>[] = [
  ['stream', ({ stream }) => stream],
  ['runs broken', ({ broken }) => percent(broken)],
  ['escalated at the end', ({ escalatedAtEnd }) => percent(escalatedAtEnd)],
  ['asked of all', ({ calls }) => percent(calls)],
];

export const TIMING: readonly Column<TimingRow>[] = [
  ['decide and settle, median batch', ({ decisionUs }) => `${decisionUs.toFixed(2)} µs`],
  ['slowest batch', ({ slowestBatchUs }) => `${slowestBatchUs.toFixed(2)} µs`],
  ['arrays in memory', ({ memoryBytes }) => `${count(memoryBytes)} bytes`],
  ['state as JSON', ({ jsonBytes }) => `${count(jsonBytes)} bytes`],
];

interface Section<R> {
  readonly title: string;
  readonly about: string;
  readonly rows: readonly R[];
  readonly columns: readonly Column<R>[];
  readonly verdicts?: readonly Verdict[];
}

/** A title, what it is about, a table, and the verdicts on it; nothing where there are no rows. */
export function section<R>({ title, about, rows, columns, verdicts = [] }: Section<R>): string[] {
  if (rows.length === 0) return [];
  const head = columns.map(([name]) => name);
  const body = rows.map((row) => columns.map(([, cell]) => cell(row)));
  const judged = verdicts.map(
    ({ requirement, measured, holds }) => `- ${requirement}: ${measured}, **${holds ? 'holds' : 'missed'}**`,
  );
  return [
    `## ${title}`,
    '',
    about,
    '',
    ...aligned([head, ...body]),
    '',
    ...judged,
    ...(judged.length > 0 ? [''] : []),
  ];
}
