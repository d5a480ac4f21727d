/** Boxes and labels over a picture, as an SVG of its size: frames, and texts of dots on dark plates. Pure. */
import type { SizePx } from '../../release/folder/picture-recipe.ts';
import type { PictureMarks } from '../runner/runner.ts';
import { LETTER_HEIGHT, LETTER_WIDTH, letterPath } from './letters.ts';

/** Nobody tells more of them apart. */
const MAX_BOXES = 100;
const MAX_CHARACTERS = 60;
/** Colours that differ for eyes that see few of them (Okabe and Ito, 2008). */
const COLOURS = ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7'];

/** @param source the picture that boxes are px of @param target the picture that is drawn into */
export function marksSvg({ boxes, caption }: PictureMarks, source: SizePx, target: SizePx): string {
  const { widthPx, heightPx } = target;
  const [across, down] = [widthPx / source.widthPx, heightPx / source.heightPx];
  const dot = Math.max(1, Math.round(Math.max(widthPx, heightPx) / 480));
  const line = dot * 2;
  const colours = new Map<string, string>();
  const drawn = boxes.slice(0, MAX_BOXES).map(({ text, box }) => {
    const name = text.replace(/ \d+ %$/, '');
    const colour = colours.get(name) ?? COLOURS[colours.size % COLOURS.length] ?? '#ffffff';
    colours.set(name, colour);
    const [left, top] = [clamp(box.xmin * across, widthPx), clamp(box.ymin * down, heightPx)];
    const [right, bottom] = [clamp(box.xmax * across, widthPx), clamp(box.ymax * down, heightPx)];
    const frame = `<rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" fill="none" stroke="${colour}" stroke-width="${line}"/>`;
    return frame + plate(text, { x: left, y: top, dot, colour, limit: target });
  });
  const below = { x: 0, y: heightPx, dot, colour: '#ffffff', limit: target };
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${widthPx}" height="${heightPx}">${drawn.join('')}${caption === '' ? '' : plate(caption, below)}</svg>`;
}

const clamp = (px: number, limit: number): number => Math.round(Math.min(limit, Math.max(0, px)));

/** A text on a plate that stands on `y`, or hangs from the upper edge where there is no room, and never leaves the picture. */
function plate(
  text: string,
  at: {
    readonly x: number;
    readonly y: number;
    readonly dot: number;
    readonly colour: string;
    readonly limit: SizePx;
  },
): string {
  const { dot, colour, limit } = at;
  const room = Math.max(0, Math.floor(limit.widthPx / (LETTER_WIDTH * dot)) - 1);
  const shown = text.slice(0, Math.min(MAX_CHARACTERS, room));
  if (shown === '') return '';
  const width = (shown.length * LETTER_WIDTH + 1) * dot;
  const height = (LETTER_HEIGHT + 2) * dot;
  const x = Math.max(0, Math.min(at.x, limit.widthPx - width));
  const y = Math.max(0, Math.min(at.y, limit.heightPx) - height);
  return (
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="#000000" fill-opacity="0.65"/>` +
    `<path d="${letterPath(shown, x + dot, y + dot, dot)}" fill="${colour}"/>`
  );
}
