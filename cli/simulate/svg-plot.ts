/** Figures as SVG without a browser: what all of ours look like. Vega is loaded when a figure is drawn, and not before. */
import type { TopLevelSpec } from 'vega-lite';
import { AppError, systemCode } from '../../shared/runtime/errors.ts';

/** Colours of lines and of text. */
export const BLUE = '#2f6db3';
/** Colour of text in figures. */
export const INK = '#24292f';

const LOOK: Pick<TopLevelSpec, 'background' | 'padding' | 'config'> = {
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

/** Shares 0..1 of the requests that are escalated. */
export const ESCALATED_AXIS = {
  field: 'escalated',
  type: 'quantitative' as const,
  title: 'share of requests escalated to the cloud',
  axis: { format: '.0%', values: [0, 0.2, 0.4, 0.6, 0.8, 1] },
  scale: { domain: [0, 1] },
};

/** Drawing library, installed only where npm could. @throws USAGE */
export function loadVega(): Promise<[typeof import('vega'), typeof import('vega-lite')]> {
  return Promise.all([import('vega'), import('vega-lite')]).catch((error: unknown) => {
    if (systemCode(error) !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new AppError('USAGE', 'figures are drawn by vega: npm install vega vega-lite', { cause: error });
  });
}

/**
 * @param title what a screen reader says of the figure
 * @returns the SVG's text
 * @throws USAGE
 */
export async function drawSvg(spec: TopLevelSpec, title: string): Promise<string> {
  const [{ parse, View }, { compile }] = await loadVega();
  const svg = await new View(parse(compile({ ...LOOK, ...spec }).spec), { renderer: 'none' }).toSVG();
  // One title says more to a screen reader than a role on every mark.
  return svg
    .replace(/ (?:role|aria-[a-z]+)="[^"]*"/g, '')
    .replace(/^<svg[^>]*>/, (opening) => `${opening}<title>${title}</title>`);
}
