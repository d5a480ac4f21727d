/** Draws docs/hybrid.svg: accuracy against the share escalated, one panel a pair. */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { Point } from './hybrid-curve.ts';

export interface PairCurve {
  readonly title: string;
  readonly curve: readonly Point[];
  /** The points that a reader looks for: edge only first, cloud only last. */
  readonly marks: readonly { readonly name: string; readonly point: Point }[];
}

const TITLE =
  'Accuracy against the share of requests escalated to the cloud, a panel for each pair of models';
const BLUE = '#2f6db3';
const INK = '#24292f';
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
export async function drawPlot(pairs: readonly PairCurve[]): Promise<string> {
  const spec: TopLevelSpec = {
    hconcat: pairs.map(panel),
    spacing: 36,
    background: 'white',
    padding: 16,
    config: {
      font: 'Helvetica, Arial, sans-serif',
      view: { stroke: null },
      axis: {
        labelFontSize: 12,
        titleFontSize: 13,
        titleFontWeight: 'normal',
        gridColor: '#e6e8eb',
        labelColor: INK,
      },
      title: { fontSize: 15, anchor: 'start', offset: 14, color: INK },
    },
  };
  const svg = await new View(parse(compile(spec).spec), { renderer: 'none' }).toSVG();
  // One title says more to a screen reader than a role on every mark.
  return svg
    .replace(/ (?:role|aria-[a-z]+)="[^"]*"/g, '')
    .replace(/^<svg[^>]*>/, (opening) => `${opening}<title>${TITLE}</title>`);
}

function panel({ title, curve, marks }: PairCurve) {
  const accuracies = curve.map(({ accuracy }) => accuracy);
  const [lowest, highest] = [Math.min(...accuracies), Math.max(...accuracies)];
  const height = highest - lowest;
  const domain = [lowest - ROOM.below * height, highest + ROOM.above * height];
  const x = {
    field: 'escalated',
    type: 'quantitative' as const,
    title: 'share of requests escalated to the cloud',
    axis: { format: '.0%', values: [0, 0.2, 0.4, 0.6, 0.8, 1] },
    scale: { domain: [0, 1] },
  };
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
