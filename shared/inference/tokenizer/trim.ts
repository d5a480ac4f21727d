/** Takes the spaces that byte-level tokens begin or end with out of their places (tokenizers, `process_offsets`). Pure. */
import type { StepConfig } from './package.ts';
import type { Token } from './token.ts';

/** A space in the alphabet of bytes is `Ġ`. */
const LEADING = /^[\u0120\s]+/;
const TRAILING = /[\u0120\s]+$/;

/** A token without the spaces at its ends; `content` is how the vocabulary spells it. */
export type Trim = (token: Token, content: string) => Token;

/** @returns undefined where the post-processor leaves places alone */
export function trimmerOf(config: StepConfig): Trim | undefined {
  if (!config) return undefined;
  if (config.type === 'Sequence') {
    const inner = (config.processors as readonly StepConfig[] | undefined) ?? [];
    return inner.map(trimmerOf).find((trim) => trim !== undefined);
  }
  if (config.type !== 'ByteLevel' && config.type !== 'RobertaProcessing') return undefined;
  if (config.trim_offsets === false) return undefined;
  const addsSpace = config.add_prefix_space !== false;
  return (token, content) => trimmed(token, content, addsSpace);
}

function trimmed(token: Token, content: string, addsSpace: boolean): Token {
  const leading = LEADING.exec(content)?.[0].length ?? 0;
  const trailing = TRAILING.exec(content)?.[0].length ?? 0;
  if (leading === 0 && trailing === 0) return token;
  // The space that the tokenizer put before the text has no place in it.
  const own = token.start === 0 && addsSpace ? Math.max(0, leading - 1) : leading;
  const start = Math.min(token.start + own, token.end);
  const end = token.end >= trailing ? Math.max(token.end - trailing, start) : token.end;
  return { ...token, start, end };
}
