/** Answers of `token-classification`: entities, the same where place and kind are. Pure. */
import { z } from 'zod';
import { ROUTE_SCORE_FLOOR } from '../classification.ts';
import { LEAST_CANDIDATE, NOTHING_FOUND } from '../judging/route-score.ts';
import { scoreText, shownAs, unlike } from '../judging/shown.ts';
import { smallestText } from '../judging/smallest.ts';
import { overlap } from '../judging/words.ts';
import type { AnswerTable, Judge } from '../task.ts';
import { type Entity, entity } from './schema.ts';

const looseEntity = z.object({
  entity: z.string().optional(),
  entity_group: z.string().optional(),
  score: z.number().optional(),
  start: z.int(),
  end: z.int(),
});
/** A recorded answer: where each entity stands, and what it is. */
const entitiesAnswer = z.array(looseEntity).max(100_000);

/** Share of golden entities that may be another: those at the edge of their threshold. */
const OTHERS = 0.1;

/** The judge of `token-classification`. */
export const tokenClassificationJudge: Judge = {
  lossOf: lossOfEntities,
  routeScoreOf: routeScoreOfEntities,
  differenceOf: (expected, actual) =>
    lossOfEntities(actual, expected) <= OTHERS ? undefined : unlike(expected, actual),
  smallestInput: smallestText,
  shown: shownAs(z.array(entity), shownEntities),
};

/** 1 - F1 of the entities. */
function lossOfEntities(local: unknown, cloud: unknown): number {
  const [mine, theirs] = [entitiesAnswer.safeParse(local), entitiesAnswer.safeParse(cloud)];
  if (!mine.success || !theirs.success) return 1;
  const [ours, others] = [mine.data, theirs.data].map((all) =>
    all.map((one) => `${one.start} ${one.end} ${one.entity_group ?? one.entity ?? ''}`),
  ) as [string[], string[]];
  return 1 - overlap(ours, others);
}

/** Log-probability that all that it names are right; it may have overlooked one where it names none. */
function routeScoreOfEntities(answer: unknown): number {
  const entities = entitiesAnswer.safeParse(answer).data;
  if (!entities || entities.some(({ score }) => score === undefined)) return ROUTE_SCORE_FLOOR;
  if (entities.length === 0) return NOTHING_FOUND;
  const sum = entities.reduce((all, { score = 0 }) => all + Math.log(Math.max(LEAST_CANDIDATE, score)), 0);
  return Math.min(0, sum);
}

/** A row an entity. */
function shownEntities(answer: readonly Entity[]): string | AnswerTable {
  if (answer.length === 0) return 'nothing found';
  return {
    head: ['word', 'is', 'score', 'from', 'to'],
    rows: answer.map(({ word, entity_group, entity: kind, score, start, end }) => [
      ...[word, entity_group ?? kind ?? '', scoreText(score)],
      ...[String(start), String(end)],
    ]),
  };
}
