/** A command as people write it, in words: blanks part them, quotes keep them together, a backslash takes the next character as it is. */
import { AppError } from './errors.ts';

/** No shell is asked: `$`, `*`, `;` and `|` mean nothing. @throws USAGE (nothing, or a quote that does not end) */
export function commandWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const next = text.charAt(at);
    if (quote !== "'" && next === '\\' && at + 1 < text.length) word = (word ?? '') + text.charAt(++at);
    else if (quote !== '' && next === quote) quote = '';
    else if (quote !== '') word = (word ?? '') + next;
    else if (next === '"' || next === "'") {
      quote = next;
      word ??= '';
    } else if (/\s/.test(next)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + next;
  }
  if (quote !== '') throw new AppError('USAGE', `the command has a quote (${quote}) that does not end`);
  if (word !== undefined) words.push(word);
  if (words.length === 0) throw new AppError('USAGE', 'the command has no word');
  return words;
}
