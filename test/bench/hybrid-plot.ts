/** Draws docs/hybrid.svg: accuracy against the share escalated, one panel a pair. */
import { BLUE, drawSvg, ESCALATED_AXIS, INK } from '../../cli/simulate/svg-plot.ts';
import type { Point } from './hybrid-curve.ts';

export interface PairCurve {
  readonly title: string;
  readonly curve: readonly Point[];
  /** The points that a reader looks for: edge only first, cloud only last. */
  readonly marks: readonly { readonly name: string; readonly point: Point }[];
}

const TITLE =
  'Accuracy against the share of requests escalated to the cloud, a panel for each pair of models';
/** Room below and above a curve, as a share of its height: the label over the certificate's point needs more. */
const ROOM = { below: 0.1, above: 0.2 };
const PANEL = { width: 340, height: 260 };

/** Where a label stands from its point, px: where the curve leaves room. */
const PLACES = {
  right: { align: 'left', dx: 10, dy: 4 },
  above: { align: 'center', dx: 0, dy: -18 },
  below: { align: 'right', dx: -2, dy: 20 },
} as const;
type Place = keyof typeof PLACES;

/** The SVG's text. */
export const drawPlot = (pairs: readonly PairCurve[]): Promise<string> =>
  drawSvg({ hconcat: pairs.map(panel), spacing: 36 }, TITLE);

function panel({ title, curve, marks }: PairCurve) {
  const accuracies = curve.map(({ accuracy }) => accuracy);
  const [lowest, highest] = [Math.min(...accuracies), Math.max(...accuracies)];
  const height = highest - lowest;
  const domain = [lowest - ROOM.below * height, highest + ROOM.above * height];
  const x = ESCALATED_AXIS;
  const y = {
    field: 'accuracy',
    type: 'quantitative' as const,
    title: 'accuracy',
    axis: { format: '.0%', tickMinStep: 0.01 },
    scale: { domain, zero: false, nice: false },
  };
  const values = curve.map(({ escalated, accuracy }) => ({ escalated, accuracy }));
  const named = marks.map(({ name, point }) => ({
    escalated: point.escalated,
    accuracy: point.accuracy,
    label: `${name}: ${(100 * point.accuracy).toFixed(1)} %`,
  }));
  const label = (place: Place, value: object | undefined) => ({
    data: { values: value === undefined ? [] : [value] },
    mark: { type: 'text' as const, fontSize: 12, fontWeight: 'bold' as const, color: INK, ...PLACES[place] },
    encoding: { x, y, text: { field: 'label', type: 'nominal' as const } },
  });
  return {
    title,
    ...PANEL,
    layer: [
      {
        data: { values },
        mark: { type: 'line' as const, color: BLUE, strokeWidth: 2.5 },
        encoding: { x, y },
      },
      {
        data: { values: named },
        mark: { type: 'point' as const, filled: true, size: 90, color: INK, opacity: 1 },
        encoding: { x, y },
      },
      label('right', named[0]),
      ...named.slice(1, -1).map((mark) => label('above', mark)),
      label('below', named.at(-1)),
    ],
  };
}
