/** Sections of a page, a table of fields for each schema. What has been shown is linked, not shown again. */
import type { z } from 'zod';
import { SchemaComments } from './schema-comments.ts';
import { fieldsOf, type JsonSchema, rangeOf, table, toJson, typeOf } from './schema-tables.ts';

/** Smaller parts are quicker read than looked up. */
const WORTH_A_LINK = 3;

export class SchemaPages {
  /** By title. */
  readonly schemas: Record<string, JsonSchema> = {};
  readonly #comments = new SchemaComments();
  /** Where a part stands, by its schema. */
  readonly #shown = new Map<string, string>();

  /** @throws when a field has no meaning: a comment in the source, or a line in field-meanings.ts */
  section(title: string, type: z.ZodType): string[] {
    const schema = toJson(type);
    this.schemas[title] = schema;
    const link = `[${title}](#${anchorOf(title)})`;
    const text = JSON.stringify(schema);
    const same = this.#shown.get(text);
    if (same !== undefined) return [`### ${title}`, '', `As ${same}.`, ''];
    this.#shown.set(text, link);
    const here = new Set<string>();
    const fields = fieldsOf(schema, {
      comments: this.#comments,
      shownAt: (part, path) => this.#find(part, `${link}, \`${path}\``, here),
    });
    const silent = fields.filter(({ meaning }) => !meaning).map(({ path }) => path);
    if (silent.length > 0)
      throw new Error(`${title}: nothing says what these fields mean: ${silent.join(', ')}`);
    if (fields.length === 0) return [`### ${title}`, '', wholeOf(schema), ''];
    const rows = fields.map((field) => [
      `\`${field.path}\``,
      typeOf(field.schema),
      field.isRequired ? 'yes' : '',
      rangeOf(field.path, field.schema),
      field.meaning ?? '',
    ]);
    return [`### ${title}`, '', ...table(['field', 'type', 'required', 'unit, range', 'meaning'], rows)];
  }

  /** @returns a hint where the part was shown before; remembers it here otherwise */
  #find(part: JsonSchema, place: string, here: Set<string>): string | undefined {
    for (const one of [part, ...(part.anyOf ?? []), ...(part.items ? [part.items] : [])]) {
      if (Object.keys(one.properties ?? {}).length < WORTH_A_LINK) continue;
      const text = JSON.stringify(one);
      const known = this.#shown.get(text);
      if (known !== undefined && !here.has(text)) return `See ${known}.`;
      here.add(text);
      this.#shown.set(text, known ?? place);
    }
    return undefined;
  }
}

const wholeOf = (schema: JsonSchema): string => {
  const range = rangeOf('', schema);
  return `${typeOf(schema)}${range && `; ${range}`}.`;
};

const anchorOf = (title: string): string =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
