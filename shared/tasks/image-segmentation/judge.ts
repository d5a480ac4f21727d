/** Answers of `image-segmentation`: masks, compared by how far those of one label overlap. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { decodeGreyPng, type GreyPicture } from '../forms/grey-png.ts';
import { logOddsOf } from '../judging/route-score.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestPicture } from '../judging/smallest.ts';
import type { AnswerTable, Judge } from '../task.ts';
import { type Segment, segment } from './schema.ts';

/** A recorded answer; transformers says null where it has no score. */
const segmentsAnswer = z.array(segment.extend({ score: z.number().nullish() })).max(1_000);
type Segments = z.infer<typeof segmentsAnswer>;

/** Places of a picture that are looked at, in each direction: masks of any size, and of two that differ, are compared by as much work. */
const PLACES = 256;
/** As golden answers are compared. */
const SAME = 0.05;

/** The judge of `image-segmentation`. */
export const imageSegmentationJudge: Judge = {
  lossOf: lossOfMasks,
  routeScoreOf: routeScoreOfMasks,
  differenceOf: (expected, actual) =>
    lossOfMasks(actual, expected) <= SAME ? undefined : unlike(labelsOf(expected), labelsOf(actual)),
  smallestInput: smallestPicture,
  shown: shownAs(z.array(segment), shownSegments),
};

/**
 * 1 - the intersection over union of the masks of each label, weighed by the area that it has in the cloud's answer: frequency weighted
 * IU (Long, Shelhamer, Darrell, arXiv:1411.4038 section 5). A label of few pixels counts little, where a mean over labels would be its.
 */
function lossOfMasks(local: unknown, cloud: unknown): number {
  const [mine, theirs] = [placesOf(local), placesOf(cloud)];
  if (!mine || !theirs) return 1;
  if (mine.size === 0 && theirs.size === 0) return 0;
  let [agreed, all] = [0, 0];
  for (const [label, wanted] of theirs) {
    const given = mine.get(label);
    const area = count(wanted);
    const both = given ? count(wanted, given) : 0;
    const either = area + (given ? count(given) : 0) - both;
    all += area;
    agreed += either === 0 ? 0 : area * (both / either);
  }
  return theirs.size === 0 ? 1 : Math.min(1, Math.max(0, 1 - agreed / all));
}

/** Whether each place has a label, by labels that have any; undefined for an answer that cannot be read. */
function placesOf(answer: unknown): Map<string, Uint8Array> | undefined {
  const segments = segmentsAnswer.safeParse(answer).data;
  if (!segments) return undefined;
  const found = new Map<string, Uint8Array>();
  for (const { label, mask } of segments) {
    const picture = decodeGreyPng(Buffer.from(mask, 'base64'));
    if (!picture) return undefined;
    const places = found.get(label) ?? new Uint8Array(PLACES * PLACES);
    for (let index = 0; index < places.length; index++) if (isWhite(picture, index)) places[index] = 1;
    found.set(label, places);
  }
  // A mask without a pixel is no more than a label that is not there.
  for (const [label, places] of found) if (!places.includes(1)) found.delete(label);
  return found;
}

function isWhite({ widthPx, heightPx, pixels }: GreyPicture, place: number): boolean {
  const x = Math.floor((((place % PLACES) + 0.5) * widthPx) / PLACES);
  const y = Math.floor(((Math.floor(place / PLACES) + 0.5) * heightPx) / PLACES);
  return (pixels[y * widthPx + x] as number) > 0;
}

/** How many places the first has, or both. */
function count(one: Uint8Array, other: Uint8Array = one): number {
  let sum = 0;
  for (let index = 0; index < one.length; index++) sum += (one[index] as number) & (other[index] as number);
  return sum;
}

/** Log-odds of the mean probability, weighed by area; by chance where no score is said. */
function routeScoreOfMasks(answer: unknown, random: () => number): number {
  const segments = segmentsAnswer.safeParse(answer).data;
  if (!segments || placesOf(answer) === undefined) return ROUTE_SCORE_FLOOR;
  if (segments.some(({ score }) => typeof score !== 'number')) return random();
  let [sum, all] = [0, 0];
  for (const { score, mask } of segments) {
    const area = shareOf(mask);
    sum += area * (score ?? 0);
    all += area;
  }
  return all === 0 ? random() : logOddsOf(sum / all, 0);
}

/** Share 0..1 of its picture that a mask has. */
function shareOf(mask: string): number {
  const picture = decodeGreyPng(Buffer.from(mask, 'base64'));
  if (!picture) return 0;
  let white = 0;
  for (const pixel of picture.pixels) white += Number(pixel > 0);
  return white / picture.pixels.length;
}

const labelsOf = (answer: unknown): unknown => {
  const segments: Segments | undefined = segmentsAnswer.safeParse(answer).data;
  return segments?.map(({ label, mask }) => `${label} ${percent(shareOf(mask))}`) ?? 'no masks';
};

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** A row a label. */
function shownSegments(answer: readonly Segment[]): string | AnswerTable {
  if (answer.length === 0) return 'nothing found';
  return {
    head: ['label', 'score', 'of the picture'],
    rows: answer.map(({ label, score, mask }) => [
      ...[label, score === undefined ? '' : scoreText(score)],
      percent(shareOf(mask)),
    ]),
  };
}
