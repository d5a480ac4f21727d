/** Cuts a normalized text into words, keeping every character's place. */
import { type Aligned, locate, matchesOf, prepend, replaceAll, slice, toBytes } from './aligned.ts';
import { globalPattern } from './normalize.ts';
import type { PreTokenizer, StepConfig } from './package.ts';

/** `\w` of the reference's regular expressions; JavaScript's knows ASCII alone. */
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';
const WORDS = new RegExp(`[${WORD}]+|[^${WORD}\\s]+`, 'gu');
const NUMBERS = /\p{N}+|\P{N}+/gu;
const SINGLE_DIGITS = /\p{N}|\P{N}+/gu;

/** Cuts a text into words. */
export type PreTokenize = (text: Aligned) => Aligned[];

/** The step that `pre_tokenizer` in tokenizer.json asks for; one that is not known here is left to the package. */
export function preTokenizeBy(config: StepConfig, step: PreTokenizer | null | undefined): PreTokenize {
  if (!config || !step) return (text) => [text];
  switch (config.type) {
    case 'Sequence': {
      const inner = config.pretokenizers as readonly StepConfig[] | undefined;
      const steps = (inner ?? []).map((each, index) => preTokenizeBy(each, step.tokenizers?.[index]));
      return (text) => steps.reduce((words, cut) => words.flatMap(cut), [text]);
    }
    case 'ByteLevel':
      return (text) => byteLevel(text, config, step);
    case 'Metaspace':
      return (text) => metaspace(text, config);
    case 'Whitespace':
      return (text) => matchesOf(text, WORDS);
    case 'Digits':
      return (text) => matchesOf(text, config.individual_digits === true ? SINGLE_DIGITS : NUMBERS);
    case 'Replace': {
      const pattern = globalPattern(step.pattern);
      return pattern ? (text) => [replaceAll(text, pattern, config.content ?? '')] : (text) => [text];
    }
    default:
      // These only cut: each word is a part of the text.
      return (text) => locate(text, step.pre_tokenize_text(text.text)) ?? [text];
  }
}

function byteLevel(text: Aligned, config: NonNullable<StepConfig>, step: PreTokenizer): Aligned[] {
  const spaced = config.add_prefix_space === true && !text.text.startsWith(' ') ? prepend(text, ' ') : text;
  const pattern = config.use_regex === false ? undefined : globalPattern(step.pattern);
  const words = pattern ? matchesOf(spaced, pattern) : [spaced];
  return words.map((word) => toBytes(word, step.byte_encoder ?? {}));
}

function metaspace(text: Aligned, config: NonNullable<StepConfig>): Aligned[] {
  const mark = typeof config.replacement === 'string' ? config.replacement : '\u2581';
  const scheme = config.prepend_scheme ?? (config.add_prefix_space === false ? 'never' : 'always');
  const marked = replaceAll(text, / /g, mark);
  const begins = scheme === 'always' || (scheme === 'first' && text.starts[0] === 0);
  const whole = begins && !marked.text.startsWith(mark) ? prepend(marked, mark) : marked;
  return config.split === false ? [whole] : cutBefore(whole, mark);
}

/** Each part but the first begins with `mark`. */
function cutBefore(text: Aligned, mark: string): Aligned[] {
  const words: Aligned[] = [];
  for (let from = 0; from < text.text.length; ) {
    const next = text.text.indexOf(mark, from + mark.length);
    const to = next < 0 ? text.text.length : next;
    words.push(slice(text, from, to));
    from = to;
  }
  return words;
}
