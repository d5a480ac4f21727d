/**
 * What the sources say about the fields of their schemas: the comment before each property of a `z.object({ … })`, so that meaning is
 * written once, where the field is, and costs no running program anything.
 */
import { readdirSync, readFileSync } from 'node:fs';
import ts from 'typescript';

export interface Note {
  readonly meaning: string;
  /** After `@example`. */
  readonly example: string | undefined;
}

/** The fields of one object schema in a source, with what stands before each. */
interface Literal {
  readonly place: string;
  readonly notes: ReadonlyMap<string, Note | undefined>;
}

const OBJECT = /(?:^|\.)(?:object|strictObject|looseObject|extend)$/;
const ROOTS = ['agent', 'cli', 'cloud', 'shared'];
/** Schemas that only documents have. */
const DESCRIPTIONS = 'test/support/agent-api.ts';

/** Looks up what is said of the fields of an object schema, which is known by its keys. */
export class SchemaComments {
  readonly #literals: Literal[] = [];
  /** Of constants, by name, those of one file by its path before it: a field that is one of them means what it does. */
  readonly #constants = new Map<string, Note>();

  constructor() {
    const inRoots = ROOTS.flatMap((root) =>
      readdirSync(root, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts'))
        .map((name) => `${root}/${name}`),
    );
    const sources = [...inRoots, DESCRIPTIONS]
      .map((path) => ({ path, text: readFileSync(path, 'utf8') }))
      .filter(({ text }) => text.includes("from 'zod'"))
      .map(({ path, text }) => ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true));
    for (const source of sources) this.#readConstants(source);
    for (const source of sources) this.#readObjects(source, source);
  }

  /** @returns for each key its note; of the smallest literals first that together have the keys */
  of(keys: readonly string[]): ReadonlyMap<string, Note> {
    const wanted = new Set(keys);
    const found = new Map<string, Note>();
    const inside = this.#literals
      .filter(({ notes }) => [...notes.keys()].every((key) => wanted.has(key)))
      .sort((one, other) => other.notes.size - one.notes.size);
    for (const { notes, place } of inside) {
      // Spread parts of a larger object; a single key says too little of whose it is.
      if (notes.size < 2 && wanted.size > 1) continue;
      for (const [key, note] of notes) {
        const known = found.get(key);
        const isSame = inside.every(
          (other) =>
            other.notes.size !== notes.size ||
            !other.notes.get(key) ||
            other.notes.get(key)?.meaning === note?.meaning,
        );
        if (note && !known && notes.size === wanted.size && !isSame)
          throw new Error(
            `two object schemas with the keys ${keys.join(', ')} say different things of ${key}: ${place}`,
          );
        if (note && !known) found.set(key, note);
      }
    }
    return found;
  }

  #readConstants(source: ts.SourceFile): void {
    for (const statement of source.statements) {
      if (!ts.isVariableStatement(statement)) continue;
      const note = noteBefore(source, statement);
      const isExported = statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
      for (const { name } of statement.declarationList.declarations) {
        if (!note || !ts.isIdentifier(name)) continue;
        this.#constants.set(`${source.fileName} ${name.text}`, note);
        if (isExported) this.#constants.set(name.text, note);
      }
    }
  }

  #readObjects(source: ts.SourceFile, node: ts.Node): void {
    if (ts.isCallExpression(node) && OBJECT.test(node.expression.getText(source))) {
      const [fields] = node.arguments;
      if (fields && ts.isObjectLiteralExpression(fields)) this.#readFields(source, fields);
    }
    node.forEachChild((child) => this.#readObjects(source, child));
  }

  #readFields(source: ts.SourceFile, fields: ts.ObjectLiteralExpression): void {
    const notes = new Map<string, Note | undefined>();
    for (const field of fields.properties) {
      if (!field.name) continue;
      const key = field.name.getText(source).replace(/^['"]|['"]$/g, '');
      notes.set(key, noteBefore(source, field) ?? this.#meaningOf(source, field));
    }
    const { line } = source.getLineAndCharacterOfPosition(fields.getStart(source));
    this.#literals.push({ place: `${source.fileName}:${line + 1}`, notes });
  }

  /** Of the one documented constant that it is made of. */
  #meaningOf(source: ts.SourceFile, field: ts.ObjectLiteralElementLike): Note | undefined {
    const made = ts.isPropertyAssignment(field) ? field.initializer : field;
    if (ts.isPropertyAssignment(field) && /strictObject|object\(/.test(made.getText(source)))
      return undefined;
    const code = made.getText(source).replace(/'[^']*'/g, '');
    const notes = [...code.matchAll(/(?<![.\w])[A-Za-z_]\w*/g)]
      .map(([word]) => this.#constants.get(`${source.fileName} ${word}`) ?? this.#constants.get(word))
      .filter((one) => one !== undefined);
    const [note] = notes;
    return note && notes.length === 1 ? { meaning: note.meaning, example: undefined } : undefined;
  }
}

/** Comments of code cite for those who work on it. */
const CITED = / \((?:docs\/[^)]*|[A-Z]+ [\d.]+)\)/g;

function noteBefore(source: ts.SourceFile, node: ts.Node): Note | undefined {
  const comments = ts.getLeadingCommentRanges(source.text, node.getFullStart()) ?? [];
  const text = comments
    .map(({ pos, end }) => source.text.slice(pos, end))
    .findLast((one) => one.startsWith('/**'));
  if (text === undefined) return undefined;
  const plain = text
    .replace(/^\/\*\*|\*\/$/g, '')
    .replace(/\n\s*\*/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  const [meaning = '', ...tags] = plain.split(/\s*@(?=example|param|returns|throws)/);
  const example = tags.find((tag) => tag.startsWith('example '))?.slice('example '.length);
  return { meaning: meaning.replace(CITED, ''), example };
}
