/** What a program exports, it explains: each export has a TSDoc comment directly above it. One on a schema serves its `z.infer` type too. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import ts from 'typescript';

const ROOTS = ['agent', 'cli', 'cloud', 'shared'];
const OF_A_SCHEMA = /\bz\.(?:infer|input|output)<typeof (\w+)>/;

const parse = (path: string, text: string): ts.SourceFile =>
  ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);

const lineAt = (source: ts.SourceFile, position: number): number =>
  source.getLineAndCharacterOfPosition(position).line;

/** The comment of a file doesn't count: a blank line or an import stands between it and the export. */
function isDocumented(source: ts.SourceFile, statement: ts.Statement): boolean {
  const last = ts.getLeadingCommentRanges(source.text, statement.getFullStart())?.at(-1);
  if (!last || !source.text.startsWith('/**', last.pos)) return false;
  return lineAt(source, last.end) + 1 === lineAt(source, statement.getStart(source));
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  const isNamed =
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement) ||
    ts.isEnumDeclaration(statement);
  return isNamed ? [statement.name?.text ?? 'default'] : [];
}

const isExported = (statement: ts.Statement): boolean =>
  ts.canHaveModifiers(statement) &&
  ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;

/** A type of the schema right above it, which has the comment. */
function isOfSchemaAbove(
  source: ts.SourceFile,
  statement: ts.Statement,
  above: ts.Statement | undefined,
): boolean {
  if (!above || !ts.isTypeAliasDeclaration(statement)) return false;
  const schema = OF_A_SCHEMA.exec(statement.type.getText(source))?.[1];
  return schema !== undefined && namesOf(above).includes(schema) && isDocumented(source, above);
}

/** `file:line name` of each export without a comment; re-exports are explained where they come from. */
function undocumented(path: string, text: string): string[] {
  const source = parse(path, text);
  return source.statements.flatMap((statement, index) => {
    if (!isExported(statement) || isDocumented(source, statement)) return [];
    if (isOfSchemaAbove(source, statement, source.statements[index - 1])) return [];
    const line = lineAt(source, statement.getStart(source)) + 1;
    return namesOf(statement).map((name) => `${path}:${line} ${name}`);
  });
}

test('every export of the programs says what it is', () => {
  const paths = ROOTS.flatMap((root) =>
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${root}/${name}`),
  );
  assert.ok(paths.length > 100, 'the sources are not where they were');
  const found = paths.sort().flatMap((path) => undocumented(path, readFileSync(path, 'utf8')));
  assert.deepEqual(found, [], `without a TSDoc comment directly above:\n${found.join('\n')}`);
});

test('an export without a comment of its own is found, by file and line', () => {
  const text = [
    '/** The file. */',
    '',
    'export const bare = 1;',
    '/** One. */',
    'export const told = z.object({});',
    'export type Told = z.infer<typeof told>;',
    'export type Far = z.infer<typeof bare>;',
    '// Not TSDoc.',
    'export function called(): void {}',
    "export { other } from './other.ts';",
    'const schema = z.object({});',
    'export type Untold = z.infer<typeof schema>;',
  ].join('\n');
  assert.deepEqual(undocumented('a.ts', text), [
    'a.ts:3 bare',
    'a.ts:7 Far',
    'a.ts:9 called',
    'a.ts:12 Untold',
  ]);
});
