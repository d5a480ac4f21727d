/** What a tokenizer puts before, between and after texts, told from its post-processor. */
import { AppError } from '../../runtime/errors.ts';
import type { PackageTokenizer, StepConfig } from './package.ts';

/** Ids that stand around one text. */
export interface SingleFrame {
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Type ids of `before`, the text, and `after`. */
  readonly types: readonly [readonly number[], number, readonly number[]];
}

/** Ids that stand around and between two texts. */
export interface PairFrame {
  readonly before: readonly number[];
  readonly between: readonly number[];
  readonly after: readonly number[];
  /** Type ids of `before`, first text, `between`, second text, `after`. */
  readonly types: readonly [readonly number[], number, readonly number[], number, readonly number[]];
}

/** Stand for the texts; no vocabulary has them. */
const FIRST = '\u0000first';
const SECOND = '\u0000second';

/** @throws MODEL_INVALID */
export function frameOf(tokenizer: PackageTokenizer): SingleFrame {
  const { tokens, types } = processed(tokenizer, null);
  const at = tokens.indexOf(FIRST);
  if (at < 0) throw unclear();
  return {
    before: idsOf(tokenizer, tokens.slice(0, at)),
    after: idsOf(tokenizer, tokens.slice(at + 1)),
    types: [types.slice(0, at), types[at] ?? 0, types.slice(at + 1)],
  };
}

/** @throws MODEL_INVALID */
export function pairFrameOf(tokenizer: PackageTokenizer, config: StepConfig): PairFrame {
  const { tokens, types: given } = processed(tokenizer, [SECOND]);
  // The package counts the second text as type 1 here; RoBERTa has one type.
  const types = usesRoberta(config) ? given.map(() => 0) : given;
  const [one, two] = [tokens.indexOf(FIRST), tokens.indexOf(SECOND)];
  if (one < 0 || two <= one) throw unclear();
  return {
    before: idsOf(tokenizer, tokens.slice(0, one)),
    between: idsOf(tokenizer, tokens.slice(one + 1, two)),
    after: idsOf(tokenizer, tokens.slice(two + 1)),
    types: [
      types.slice(0, one),
      types[one] ?? 0,
      types.slice(one + 1, two),
      types[two] ?? 0,
      types.slice(two + 1),
    ],
  };
}

function usesRoberta(config: StepConfig): boolean {
  if (config?.type === 'Sequence')
    return ((config.processors as readonly StepConfig[] | undefined) ?? []).some(usesRoberta);
  return config?.type === 'RobertaProcessing';
}

function processed(
  { post_processor: process }: PackageTokenizer,
  second: string[] | null,
): { tokens: string[]; types: number[] } {
  if (!process) return { tokens: [FIRST, ...(second ?? [])], types: [0, ...(second ?? []).map(() => 0)] };
  const { tokens, token_type_ids } = process([FIRST], second, true);
  return { tokens, types: token_type_ids ?? tokens.map(() => 0) };
}

const idsOf = ({ model }: PackageTokenizer, tokens: readonly string[]): number[] =>
  tokens.map((token) => {
    const id = model.tokens_to_ids.get(token);
    if (id === undefined) throw unclear();
    return id;
  });

const unclear = (): AppError =>
  new AppError('MODEL_INVALID', 'tokenizer.json: its post-processor cannot be followed');
