/**
 * Brings a text into the form that a tokenizer's vocabulary is in, keeping every character's place. The package's own
 * normalizers change each cluster by itself, as the reference does: `toLowerCase` of a whole text knows Greek's final sigma, which
 * the reference does not.
 */
import { type Aligned, mapCharacters, mapClusters, prepend, replaceAll, slice } from './aligned.ts';
import type { Normalizer, StepConfig } from './package.ts';

/** What composes into one character: a base with its marks, a syllable of Hangul. */
const COMPOSED = /[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]+|\P{M}\p{M}*|\p{M}+/gsu;
/** CJK beyond the 16-bit plane, which the package does not set apart. */
const RARE_HAN =
  /[\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/u;
/** Clusters whose normal form is remembered; a text has few different ones. */
const MAX_REMEMBERED = 4_096;

/** Changes a text before it is cut; each character keeps its place. */
export type Normalize = (text: Aligned) => Aligned;

/** The step that `normalizer` in tokenizer.json asks for; one that is not known here is left to the package. */
export function normalizeBy(config: StepConfig, step: Normalizer | null | undefined): Normalize {
  if (!config || !step) return (text) => text;
  switch (config.type) {
    case 'Sequence': {
      const inner = config.normalizers as readonly StepConfig[] | undefined;
      const steps = (inner ?? []).map((each, index) => normalizeBy(each, step.normalizers?.[index]));
      return (text) => steps.reduce((changed, change) => change(changed), text);
    }
    case 'Strip':
      return (text) => strip(text, config.strip_left === true, config.strip_right === true);
    case 'Prepend':
      return (text) => prepend(text, config.prepend ?? '');
    case 'Replace': {
      const pattern = globalPattern(step.pattern);
      return pattern ? (text) => replaceAll(text, pattern, config.content ?? '') : (text) => text;
    }
    case 'BertNormalizer':
      return characterwise((char) =>
        config.handle_chinese_chars !== false && RARE_HAN.test(char) ? ` ${char} ` : step.normalize(char),
      );
    case 'NFC':
    case 'NFKC':
    case 'Precompiled':
      return clusterwise((cluster) => step.normalize(cluster));
    default:
      return characterwise((char) => step.normalize(char));
  }
}

function characterwise(change: (char: string) => string): Normalize {
  const remembered = remember(change);
  return (text) => mapCharacters(text, remembered);
}

function clusterwise(change: (cluster: string) => string): Normalize {
  const remembered = remember(change);
  return (text) => mapClusters(text, COMPOSED, remembered);
}

function remember(change: (text: string) => string): (text: string) => string {
  const known = new Map<string, string>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const changed = change(text);
    if (known.size < MAX_REMEMBERED) known.set(text, changed);
    return changed;
  };
}

function strip(text: Aligned, left: boolean, right: boolean): Aligned {
  const end = right ? text.text.trimEnd().length : text.text.length;
  const start = left ? Math.min(end, text.text.length - text.text.trimStart().length) : 0;
  return slice(text, start, end);
}

/** Global expression, as `matchAll` wants it; undefined: there is no pattern. */
export function globalPattern(pattern: RegExp | string | null | undefined): RegExp | undefined {
  if (pattern === null || pattern === undefined || pattern === '') return undefined;
  if (typeof pattern === 'string') return new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'), 'g');
  return pattern.global ? pattern : new RegExp(pattern.source, `${pattern.flags}g`);
}
