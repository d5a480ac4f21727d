/**
 * From the labels of tokens to entities, in the words and steps of transformers' TokenClassificationPipeline, so that both can be
 * read side by side. Pure.
 */

import { argMax } from '../../tasks/probability.ts';
import type { Entity, TokenClassificationParameters } from '../../tasks/token-classification/schema.ts';

type Strategy = NonNullable<TokenClassificationParameters['aggregation_strategy']>;

/** A token with its chances. */
export interface PreEntity {
  readonly word: string;
  /** f64[C] 0..1, in the order of the labels. */
  readonly scores: Float64Array;
  readonly start: number;
  readonly end: number;
  /** It goes on with the word of the token before it. */
  readonly isSubword: boolean;
}

/** How labelled tokens become entities. */
export interface EntityOptions {
  readonly strategy: Strategy;
  readonly labels: readonly string[];
  readonly ignoreLabels: readonly string[];
  /** Python's `convert_tokens_to_string`. */
  readonly join: (words: readonly string[]) => string;
}

interface Labelled {
  readonly entity: string;
  readonly score: number;
  readonly word: string;
  readonly start: number;
  readonly end: number;
}

/** The entities of one row, in their order. */
export function entitiesOf(tokens: readonly PreEntity[], options: EntityOptions): Entity[] {
  const { strategy, ignoreLabels } = options;
  const isWanted = ({ entity, entity_group }: Entity): boolean =>
    !ignoreLabels.includes(entity ?? entity_group ?? '');
  const labelled =
    strategy === 'none' || strategy === 'simple'
      ? tokens.map((token) => labelledBy(token.scores, [token], token.word, options))
      : wordsOf(tokens).map((word) => aggregateWord(word, options));
  return (strategy === 'none' ? labelled : groupEntities(labelled, options)).filter(isWanted);
}

/**
 * Merges entities that overlap where windows overlap: keeps the longer, of equals the surer.
 *
 * @param entities of all windows of a text
 */
export function mergeOverlapping(entities: readonly Entity[]): Entity[] {
  const merged: Entity[] = [];
  for (const entity of entities.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last === undefined || entity.start < last.start || entity.start >= last.end) {
      merged.push(entity);
      continue;
    }
    const longer = entity.end - entity.start - (last.end - last.start);
    if (longer > 0 || (longer === 0 && entity.score > last.score)) merged[merged.length - 1] = entity;
  }
  return merged;
}

function labelledBy(
  scores: Float64Array,
  tokens: readonly PreEntity[],
  word: string,
  { labels }: EntityOptions,
): Labelled {
  const best = argMax(scores);
  return {
    entity: labels[best] ?? `LABEL_${best}`,
    score: scores[best] ?? 0,
    word,
    start: tokens[0]?.start ?? 0,
    end: tokens.at(-1)?.end ?? 0,
  };
}

/** Tokens of each word. */
function wordsOf(tokens: readonly PreEntity[]): PreEntity[][] {
  const words: PreEntity[][] = [];
  for (const token of tokens) {
    const word = words.at(-1);
    if (word && token.isSubword) word.push(token);
    else words.push([token]);
  }
  return words;
}

function aggregateWord(tokens: readonly PreEntity[], options: EntityOptions): Labelled {
  const word = options.join(tokens.map((token) => token.word));
  return labelledBy(scoresOfWord(tokens, options.strategy), tokens, word, options);
}

function scoresOfWord(tokens: readonly PreEntity[], strategy: Strategy): Float64Array {
  const all = tokens.map(({ scores }) => scores);
  const first = all[0] ?? new Float64Array();
  switch (strategy) {
    case 'max':
      return all.reduce((best, scores) => (topOf(scores) > topOf(best) ? scores : best), first);
    case 'average':
      return first.map((_, label) => mean(all.map((scores) => scores[label] ?? 0)));
    case 'first':
    case 'none':
    case 'simple':
      return first;
  }
}

const topOf = (scores: Float64Array): number => scores[argMax(scores)] ?? 0;
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Neighbours of one kind are one entity, unless the second begins a new one. */
function groupEntities(labelled: readonly Labelled[], options: EntityOptions): Entity[] {
  const groups: Labelled[][] = [];
  for (const one of labelled) {
    const group = groups.at(-1);
    const last = group?.at(-1);
    const goesOn = last && !one.entity.startsWith('B-') && tagOf(one.entity) === tagOf(last.entity);
    if (group && goesOn) group.push(one);
    else groups.push([one]);
  }
  return groups.map((group) => grouped(group, options));
}

const tagOf = (entity: string): string => (/^[BI]-/.test(entity) ? entity.slice(2) : entity);

function grouped(group: readonly Labelled[], { join }: EntityOptions): Entity {
  const [first] = group as [Labelled];
  return {
    // As transformers does it: after the first hyphen, whatever stands before it.
    entity_group: first.entity.slice(first.entity.indexOf('-') + 1),
    score: mean(group.map(({ score }) => score)),
    word: join(group.map(({ word }) => word)),
    start: first.start,
    end: group.at(-1)?.end ?? first.end,
  };
}
