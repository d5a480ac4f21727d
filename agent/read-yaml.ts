/** Reads the configuration file: YAML 1.2 with merge keys (`<<`), and what is wrong with it by its line, in words of ours. */
import { readFile } from 'node:fs/promises';
import { type ErrorCode, LineCounter, parseDocument } from 'yaml';
import { AppError, systemCode, unreadable } from '../shared/runtime/errors.ts';
import { writtenText } from '../shared/runtime/written-text.ts';

/** What the parser's codes mean to whoever writes the file; the others say it well themselves. */
const WORDS: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: 'this alias is no name',
  BAD_INDENT: 'this line is indented too little or too much, or a bracket before it is not closed',
  BLOCK_AS_IMPLICIT_KEY: 'what follows a key belongs on a line of its own, indented',
  DUPLICATE_KEY: 'this key is there already: keys must be unique',
  MISSING_CHAR: 'something is not closed, or a colon or comma is missing',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line, with a colon behind it',
  MULTIPLE_DOCS: 'a second document begins: one file holds one',
  TAB_AS_INDENT: 'a tab indents this line: use spaces',
  TAG_RESOLVE_FAILED: 'this tag is not known',
  UNEXPECTED_TOKEN: 'this is not expected here: texts with special characters need quotes',
};

/** @throws CONFIG_INVALID */
export async function readYaml(path: string): Promise<unknown> {
  const text = writtenText(
    await readFile(path).catch((error: unknown) => {
      const what = `the configuration ${path}`;
      const told =
        systemCode(error) === 'ENOENT'
          ? `${what} does not exist; name one with --config`
          : unreadable(what, error).message;
      throw new AppError('CONFIG_INVALID', told, { cause: error });
    }),
  );
  if (text === undefined)
    throw new AppError('CONFIG_INVALID', `${path} is no text: it is to be YAML, in UTF-8 or UTF-16`);
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { merge: true, prettyErrors: false, lineCounter });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) {
    const { line, col } = lineCounter.linePos(problem.pos[0]);
    const isTooDeep = problem.message.includes('call stack');
    const what = isTooDeep ? 'this is nested too deep' : (WORDS[problem.code] ?? problem.message);
    throw new AppError('CONFIG_INVALID', `${path} is not YAML: line ${line}, column ${col}: ${what}`, {
      cause: problem,
    });
  }
  try {
    const value: unknown = document.toJS();
    if (value !== null) return value;
  } catch (error) {
    // Aliases to nothing or of too many, and merges of what is no map, show only here.
    const said = error instanceof Error ? error.message : String(error);
    const what = said.startsWith('Excessive alias count') ? 'its aliases unfold to far too much' : said;
    throw new AppError('CONFIG_INVALID', `${path} is not YAML: ${what}`, { cause: error });
  }
  throw new AppError('CONFIG_INVALID', `${path} is empty: it names at least one pipeline`);
}
