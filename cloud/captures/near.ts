/**
 * Fingerprints by which nearly the same inputs are known: of pictures, in which direction brightness changes; of texts, their runs of
 * three words. Pure: a picture comes here as the 17 x 16 greys that a runner has made of it.
 */
import { createHash } from 'node:crypto';
import { hash32 } from './hash32.ts';

/** Greys that a fingerprint is made of: one column more than there are differences. */
export const GREYS = { widthPx: 17, heightPx: 16 };
const PICTURE_WORDS = 8;
/** A difference is one from this share of the picture's range on: noise in a flat wall is none. */
const LEAST_CHANGE = 0.05;
/** Darker pictures than this range of 0..255 have no shape. */
const LEAST_RANGE = 8;
/** Bits of 256 in which nearly the same pictures differ at most, and how much brighter one may be, of 255. */
const NEAR_BITS = 10;
const NEAR_LEVEL = 24;
/** … where a person asks for all that may be of their picture. */
const ALIKE_BITS = 48;

const MINIMA = 16;
const NEAR_MINIMA = 13;
const ALIKE_MINIMA = 7;
/** Words in a run. */
const RUN = 3;
/** Of a longer text the rest is not looked at. */
const MAX_TEXT_CHARACTERS = 64 * 1024;

/** What is compared of one input. */
export type Fingerprint =
  | { readonly kind: 'picture'; readonly bits: Uint32Array; readonly level: number }
  | { readonly kind: 'text'; readonly digest: string; readonly minima: Uint32Array };

/** @param greys u8[16,17], row by row */
export function pictureFingerprint(greys: Uint8Array): Fingerprint | undefined {
  const { widthPx, heightPx } = GREYS;
  if (greys.length !== widthPx * heightPx) return undefined;
  let [sum, least, most] = [0, 255, 0];
  for (const grey of greys) {
    sum += grey;
    least = Math.min(least, grey);
    most = Math.max(most, grey);
  }
  const change = Math.max(LEAST_RANGE, most - least) * LEAST_CHANGE;
  const bits = new Uint32Array(PICTURE_WORDS);
  for (let y = 0; y < heightPx; y++)
    for (let x = 0; x < widthPx - 1; x++) {
      const at = y * widthPx + x;
      const bit = y * (widthPx - 1) + x;
      if ((greys[at] ?? 0) - (greys[at + 1] ?? 0) > change)
        bits[bit >>> 5] = ((bits[bit >>> 5] ?? 0) | (1 << (bit & 31))) >>> 0;
    }
  return { kind: 'picture', bits, level: Math.round(sum / greys.length) };
}

/** Case, punctuation and blanks make no difference. */
export function textFingerprint(text: string): Fingerprint {
  const words = text
    .slice(0, MAX_TEXT_CHARACTERS)
    .normalize('NFKC')
    .toLowerCase()
    .match(/[\p{L}\p{N}]+/gu) ?? [text];
  const minima = new Uint32Array(MINIMA).fill(0xffffffff);
  for (let at = 0; at === 0 || at + RUN <= words.length; at++) {
    const run = words.slice(at, at + RUN).join(' ');
    for (let i = 0; i < MINIMA; i++) minima[i] = Math.min(minima[i] ?? 0, hash32(run, i));
  }
  return {
    kind: 'text',
    digest: createHash('sha256').update(words.join(' ')).digest('hex').slice(0, 32),
    minima,
  };
}

/** @returns 0 for the same, up to 1 for what is still near enough; undefined where it is not */
export function nearness(one: Fingerprint, other: Fingerprint, how: 'same' | 'alike'): number | undefined {
  if (one.kind === 'picture' && other.kind === 'picture') {
    if (how === 'same' && Math.abs(one.level - other.level) > NEAR_LEVEL) return undefined;
    const most = how === 'same' ? NEAR_BITS : ALIKE_BITS;
    let differing = 0;
    for (let i = 0; i < PICTURE_WORDS; i++) {
      differing += ones((one.bits[i] ?? 0) ^ (other.bits[i] ?? 0));
      if (differing > most) return undefined;
    }
    return differing / most;
  }
  if (one.kind !== 'text' || other.kind !== 'text') return undefined;
  if (one.digest === other.digest) return 0;
  const least = how === 'same' ? NEAR_MINIMA : ALIKE_MINIMA;
  let same = 0;
  for (let i = 0; i < MINIMA; i++) if (one.minima[i] === other.minima[i]) same++;
  return same >= least ? 1 - (same - least) / (MINIMA + 1 - least) : undefined;
}

function ones(word: number): number {
  let rest = word - ((word >>> 1) & 0x55555555);
  rest = (rest & 0x33333333) + ((rest >>> 2) & 0x33333333);
  return (((rest + (rest >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** As a word of a record: `p…` or `t…`. */
export function toText(print: Fingerprint): string {
  if (print.kind === 'picture') return `p${hexOf(print.bits)}${print.level.toString(16).padStart(2, '0')}`;
  return `t${print.digest}${hexOf(print.minima)}`;
}

/** @returns undefined where it is none of this version */
export function fromText(text: string): Fingerprint | undefined {
  if (/^p[0-9a-f]{66}$/.test(text))
    return { kind: 'picture', bits: wordsOf(text.slice(1, 65)), level: Number.parseInt(text.slice(65), 16) };
  if (/^t[0-9a-f]{160}$/.test(text))
    return { kind: 'text', digest: text.slice(1, 33), minima: wordsOf(text.slice(33)) };
  return undefined;
}

const hexOf = (words: Uint32Array): string =>
  Array.from(words, (word) => word.toString(16).padStart(8, '0')).join('');
const wordsOf = (hex: string): Uint32Array =>
  Uint32Array.from(hex.match(/.{8}/g) ?? [], (word) => Number.parseInt(word, 16));
