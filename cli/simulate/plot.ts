/** Draws a simulation: agreement against the share escalated, what was promised, and where each way to decide stands. */

import type { Point } from './pool.ts';
import type { InOrder } from './replay.ts';
import type { Report } from './report.ts';
import { BLUE, drawSvg, ESCALATED_AXIS, INK } from './svg-plot.ts';

const TITLE = 'Agreement with the cloud against the share of requests escalated to it';
const SIZE = { width: 480, height: 320 };
/** Below and above what is drawn, as a share of its height. */
const ROOM = 0.08;
const LEGEND = { labelFontSize: 12, labelLimit: 0 };
/** In the order of the legend. */
const KINDS = [
  'edge only',
  'fixed threshold',
  'learned threshold',
  'learned, with audits',
  'oracle threshold',
];
const COLORS = ['#8a929a', '#c4622d', '#2b8a5a', '#2b8a5a', INK];
const SHAPES = ['circle', 'square', 'circle', 'triangle-up', 'diamond'];

/** @param curve finer than the report's */
export const drawSimulation = (report: Report, curve: readonly Point[]): Promise<string> =>
  drawSvg(
    {
      vconcat: [curvePanel(report, curve), ...(report.inOrder ? [timePanel(report.inOrder)] : [])],
      resolve: { scale: { color: 'independent', shape: 'independent' } },
    },
    TITLE,
  );

/** Shares of each stretch of a replay in order. */
function timePanel({ stretches }: InOrder) {
  const values = stretches.flatMap(({ requests, escalated, calls, agreement }) => [
    { requests, share: agreement, of: 'agreement' },
    { requests, share: escalated, of: 'escalated' },
    { requests, share: calls, of: 'all calls' },
  ]);
  return {
    width: SIZE.width,
    height: SIZE.height / 2,
    data: { values },
    mark: { type: 'line' as const, point: true },
    encoding: {
      x: { field: 'requests', type: 'quantitative' as const, title: 'requests', axis: { tickCount: 6 } },
      y: {
        field: 'share',
        type: 'quantitative' as const,
        title: null,
        axis: { format: '.0%' },
        scale: { domain: [0, 1] },
      },
      color: {
        field: 'of',
        type: 'nominal' as const,
        title: null,
        legend: LEGEND,
        scale: { domain: ['agreement', 'escalated', 'all calls'], range: [BLUE, '#2b8a5a', '#c4622d'] },
      },
    },
  };
}

function curvePanel(report: Report, curve: readonly Point[]) {
  const { promised } = report;
  const marks = marksOf(report);
  const lowest = Math.min(...[...curve, ...marks].map(({ agreement }) => agreement), promised.agreement);
  const room = ROOM * (1 - lowest);
  const y = {
    field: 'agreement',
    type: 'quantitative' as const,
    title: promised.scope === 'all' ? 'agreement with the cloud' : 'agreement of the local answers',
    axis: { format: '.1~%' },
    scale: { domain: [lowest - room, 1 + room], zero: false, nice: false },
  };
  const x = ESCALATED_AXIS;
  const kind = {
    field: 'kind',
    type: 'nominal' as const,
    title: null,
    legend: LEGEND,
  };
  const rule = {
    label: `promised: ${Number((100 * promised.agreement).toFixed(6))} %`,
    escalated: 1,
    ...promised,
  };
  const layer = [
    {
      data: { values: [rule] },
      mark: { type: 'rule' as const, color: INK, strokeDash: [4, 4] },
      encoding: { y },
    },
    {
      data: { values: [rule] },
      mark: { type: 'text' as const, align: 'right' as const, dy: 14, fontSize: 12, color: INK },
      encoding: { x, y, text: { field: 'label', type: 'nominal' as const } },
    },
    {
      data: { values: [...curve] },
      mark: { type: 'line' as const, color: BLUE, strokeWidth: 2.5 },
      encoding: { x, y },
    },
    {
      data: { values: marks },
      mark: { type: 'point' as const, filled: true, size: 90, opacity: 1 },
      encoding: {
        x,
        y,
        color: { ...kind, scale: { domain: KINDS, range: COLORS } },
        shape: { ...kind, scale: { domain: KINDS, range: SHAPES } },
      },
    },
  ];
  return { ...SIZE, layer };
}

/** Ours as of the end. */
function marksOf({ edgeOnly, fixed, oracle, drawn, inOrder }: Report): (Point & { readonly kind: string })[] {
  const learned = inOrder?.total ?? drawn?.learned.at(-1);
  const mark = (kind: string, { escalated, agreement }: Point) => ({ kind, escalated, agreement });
  return [
    mark('edge only', edgeOnly),
    ...fixed.map((one) => mark('fixed threshold', one)),
    mark('oracle threshold', oracle),
    ...(learned
      ? [
          mark('learned threshold', learned),
          mark('learned, with audits', { ...learned, escalated: learned.calls }),
        ]
      : []),
  ];
}
