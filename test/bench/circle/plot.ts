/** Draws what a turn of the circle changes: share escalated and true accuracy, before and after, by kind of pictures. */
import { BLUE, drawSvg } from '../../../cli/simulate/svg-plot.ts';
import type { Figures } from './figures.ts';

const TITLE = 'Share escalated and true accuracy of the answers before and after one turn of the circle';
const GREY = '#9aa4af';
const PANEL = { width: 300, height: 220 };

/** The SVG's text. */
export function drawTurn(figures: readonly Figures[], agreement: number): Promise<string> {
  const panel = (field: 'escalated' | 'accuracy', title: string) => ({
    title,
    ...PANEL,
    data: { values: figures.map((one) => ({ kind: one.kind, version: one.version, value: one[field] })) },
    mark: { type: 'bar' as const },
    encoding: {
      x: { field: 'kind', type: 'nominal' as const, title: null, sort: null, axis: { labelAngle: 0 } },
      xOffset: { field: 'version', sort: null },
      y: {
        field: 'value',
        type: 'quantitative' as const,
        title: null,
        axis: { format: '.0%' },
        scale: { domain: [0, 1] },
      },
      color: {
        field: 'version',
        type: 'nominal' as const,
        sort: null,
        title: null,
        scale: { domain: ['before', 'after'], range: [GREY, BLUE] },
      },
    },
  });
  const promise = `${(100 * agreement).toFixed(0)} % agreement`;
  return drawSvg(
    { hconcat: [panel('escalated', `escalated at ${promise}`), panel('accuracy', 'answers that are right')] },
    TITLE,
  );
}
