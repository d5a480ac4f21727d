/** Schemas as tables of their fields, for people; what a field means is the comment before it (schema-comments.ts). */
import { z } from 'zod';
import { FIELD_MEANINGS } from './field-meanings.ts';
import type { SchemaComments } from './schema-comments.ts';

export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly format?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}

export const toJson = (schema: z.ZodType): JsonSchema => {
  const json = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    // zod leaves out those of what it transforms (durations, sizes): they are of the other form.
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === 'default')
        jsonSchema.default = zodSchema._zod.def.defaultValue as never;
    },
  });
  delete json.$schema;
  return json as JsonSchema;
};

/** One field at whatever depth. */
export interface Field {
  /** `updates[].model.name` */
  readonly path: string;
  readonly schema: JsonSchema;
  readonly isRequired: boolean;
  readonly meaning: string | undefined;
  readonly example: string | undefined;
  /** `type: folder`: of which of several variants it is; undefined: there is one. */
  readonly variant: string | undefined;
}

export interface Reader {
  readonly comments: SchemaComments;
  /** Where a part has been shown already: it is not shown again. */
  readonly shownAt?: (schema: JsonSchema, path: string) => string | undefined;
}

/** Every field of a schema, parents before their parts; of variants each that differs. */
export function fieldsOf(schema: JsonSchema, reader: Reader, prefix = ''): Field[] {
  const variants = variantsOf(schema);
  const objects = variants.filter(({ properties }) => properties !== undefined);
  const fields = objects.flatMap((one) => {
    const names = Object.keys(one.properties ?? {});
    const notes = reader.comments.of(names);
    return names.flatMap((name) => {
      const part = one.properties?.[name] ?? {};
      const path = prefix === '' ? name : `${prefix}.${name}`;
      const { example } = notes.get(name) ?? {};
      const meaning = notes.get(name)?.meaning ?? FIELD_MEANINGS[name];
      const isRequired = one.required?.includes(name) === true;
      const known = reader.shownAt?.(part, path);
      const field = { path, schema: part, isRequired, meaning, example, variant: variantName(objects, one) };
      if (known !== undefined) return [{ ...field, meaning: `${meaning ?? ''} ${known}`.trim() }];
      return [field, ...fieldsOf(part, reader, path)];
    });
  });
  const parts = variants.flatMap((one) => [
    ...(one.items ? fieldsOf(one.items, reader, `${prefix}[]`) : []),
    ...(typeof one.additionalProperties === 'object'
      ? fieldsOf(one.additionalProperties, reader, `${prefix}.*`)
      : []),
  ]);
  return [...together(fields, objects.length), ...parts];
}

/** The same field of several variants is one, required where each has it; where it differs, its choices stand beside each other. */
function together(fields: readonly Field[], variants: number): Field[] {
  return Array.from(groupBy(fields).values(), (same) => {
    const [first] = same as [Field];
    const kinds = new Map(same.map(({ schema }) => [JSON.stringify(schema), schema]));
    const schema = kinds.size === 1 ? first.schema : { anyOf: [...kinds.values()] };
    const isEverywhere = same.length >= variants && same.every(({ isRequired }) => isRequired);
    const meaning = same.find((one) => one.meaning !== undefined)?.meaning;
    const only =
      same.length < variants && first.variant !== undefined
        ? same.map(({ variant }) => `\`${variant}\``)
        : [];
    return {
      ...first,
      schema,
      isRequired: isEverywhere,
      meaning: meaning && only.length > 0 ? `${meaning} Only with ${only.join(', ')}.` : meaning,
      example: same.find(({ example }) => example !== undefined)?.example,
    };
  });
}

/** By the key that is one value in each of them. */
function variantName(all: readonly JsonSchema[], one: JsonSchema): string | undefined {
  if (all.length < 2) return undefined;
  const key = Object.keys(one.properties ?? {}).find((name) =>
    all.every(({ properties }) => properties?.[name]?.const !== undefined),
  );
  return key && `${key}: ${one.properties?.[key]?.const}`;
}

function groupBy(fields: readonly Field[]): Map<string, Field[]> {
  const groups = new Map<string, Field[]>();
  for (const field of fields) groups.set(field.path, [...(groups.get(field.path) ?? []), field]);
  return groups;
}

const variantsOf = (schema: JsonSchema): readonly JsonSchema[] =>
  [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].length === 0
    ? [schema]
    : [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].flatMap(variantsOf);

const DURATION = '(ms|s|m|h|d)$';
const SIZE = '(B|KB|MB|GB|KiB|MiB|GiB)$';

/** What kind of value a field takes. */
export function typeOf(schema: JsonSchema): string {
  const variants = variantsOf(schema);
  if (variants.length > 1) return [...new Set(variants.map(typeOf))].join(' or ');
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum)
    return schema.enum.length > 12 ? 'one of a list' : schema.enum.map((one) => `\`${one}\``).join(', ');
  if (schema.pattern?.endsWith(DURATION)) return 'duration';
  if (schema.pattern?.endsWith(SIZE)) return 'size';
  if (schema.items) return `list of ${typeOf(schema.items)}`;
  if (schema.properties) return 'object';
  if (typeof schema.additionalProperties === 'object') return `map to ${typeOf(schema.additionalProperties)}`;
  if (schema.format === 'uuid') return 'UUID';
  if (schema.format === 'uri') return 'URL';
  if (Array.isArray(schema.type)) return schema.type.join(' or ');
  return typeof schema.type === 'string' ? schema.type : 'anything';
}

/** JavaScript's own bounds of whole numbers say nothing. */
const isBound = (value: number | undefined): value is number =>
  value !== undefined && Math.abs(value) < Number.MAX_SAFE_INTEGER;

/** Units by the ends of names: every number has its unit in its name. */
const UNITS: readonly (readonly [RegExp, string])[] = [
  [/AtMs$/, 'ms since 1970'],
  [/(?:^|[a-z])Ms$/, 'ms'],
  [/(?:^b|B)ytes$/, 'bytes'],
  [/Px$/, 'px'],
  [/sha256$|[dD]igest$/, 'SHA-256, hex'],
];

/** Unit and bounds of a value. */
export function rangeOf(path: string, schema: JsonSchema): string {
  const [name = '', ...parents] = path.replaceAll('[]', '').split('.').reverse();
  const isSpan = parents.some((parent) => parent.endsWith('timingsMs'));
  const unit = isSpan ? 'ms' : name === 'atMs' ? 'ms since 1970' : UNITS.find(([end]) => end.test(name))?.[1];
  const bounds = variantsOf(schema).map(boundsOf).filter(Boolean);
  return [unit, ...new Set(bounds)].filter(Boolean).join('; ');
}

function boundsOf(schema: JsonSchema): string {
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  const next = isBound(above) && schema.type === 'integer' ? above + 1 : minimum;
  const least = isBound(next) ? `${next}` : isBound(above) ? `above ${above}` : undefined;
  const most = isBound(maximum) ? `${maximum}` : isBound(below) ? `below ${below}` : undefined;
  const size = (min: number | undefined, max: number | undefined, what: string) =>
    max !== undefined
      ? min === undefined
        ? `at most ${max} ${what}`
        : `${min} to ${max} ${what}`
      : min !== undefined && min > 0
        ? `at least ${min} ${what}`
        : '';
  return [
    least !== undefined && most !== undefined ? `${least} to ${most}` : '',
    least !== undefined && most === undefined
      ? least.startsWith('above')
        ? least
        : `at least ${least}`
      : '',
    least === undefined && most !== undefined ? (most.startsWith('below') ? most : `at most ${most}`) : '',
    size(schema.minLength, schema.maxLength, 'characters'),
    size(schema.minItems, schema.maxItems, 'items'),
    schema.pattern &&
    !/\((?:ms|B)\|/.test(schema.pattern) &&
    schema.format === undefined &&
    schema.pattern.length < 50
      ? `\`${schema.pattern}\``
      : '',
  ]
    .filter(Boolean)
    .join(', ');
}

/** A cell of a Markdown table. */
export const cell = (text: string): string => text.replace(/\|/g, '\\|').replace(/\s+/g, ' ').trim();

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] => [
  `| ${head.join(' | ')} |`,
  `|${head.map(() => '---').join('|')}|`,
  ...rows.map((row) => `| ${row.map(cell).join(' | ')} |`),
  '',
];
