/** docs/configuration.md: every key of `outrider.yaml`, from its schema and the comments before its keys; the flags of agent and hub. */
import { configFile } from '../../agent/config/config-file.ts';
import { AGENT_HELP } from '../../agent/config.ts';
import { HUB_HELP } from '../../cloud/config.ts';
import { SchemaComments } from './schema-comments.ts';
import { type Field, fieldsOf, type JsonSchema, rangeOf, table, toJson, typeOf } from './schema-tables.ts';

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
];
const SIZES: readonly (readonly [string, number])[] = [
  ['GB', 1e9],
  ['MB', 1e6],
  ['KB', 1e3],
  ['B', 1],
];

/** @throws when a key has no comment, or no example, in the source */
export function configurationPage(generated: string): string {
  const fields = fieldsOf(toJson(configFile), { comments: new SchemaComments() });
  const silent = fields.filter(({ meaning, example }) => !meaning || !example).map(({ path }) => path);
  if (silent.length > 0)
    throw new Error(`keys of outrider.yaml without meaning or @example: ${silent.join(', ')}`);
  const [ofDevice, ofPipelines] = [false, true].map((isOfPipeline) =>
    fields.filter(({ path }) => path.startsWith('pipelines[]') === isOfPipeline),
  ) as [Field[], Field[]];
  return [
    '# Configuration',
    '',
    generated,
    '',
    'What a device does stands in its `outrider.yaml`; flags stand over it. An unknown key ends the start, and all problems are told at once,',
    'each with its key. Relative paths begin beside the file. [The demo’s](../models/demo/outrider.yaml) is a whole one; what to write for a first',
    'device of your own, [the tutorial](tutorial.md) says.',
    '',
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: as it stands in a configuration file.
    'A text may hold `${NAME}`: the variable of that name in the agent’s environment, else the credential of its systemd service',
    '(`LoadCredential=NAME:/path`). Where all of it is missing the agent does not start; values are never printed. In the user part of an address',
    '(`rtsp://${CAM_USER}:${CAM_PASSWORD}@10.0.0.7/stream`) they are encoded, so that a password may hold any character. `$${` stands for `${` itself.',
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: as it stands in a configuration file.
    '',
    'A _duration_ is a number with `ms`, `s`, `m`, `h` or `d`; a _size_ one with `B`, `KB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`.',
    '',
    '## The device',
    '',
    ...rows(ofDevice, ''),
    '## Each of its pipelines',
    '',
    'Keys of an entry of `pipelines`.',
    '',
    ...rows(ofPipelines, 'pipelines[].'),
    '## Flags of the agent',
    '',
    '```text',
    AGENT_HELP.trim(),
    '```',
    '',
    '## Flags of the hub',
    '',
    'A hub has no file: what it is told stands in its flags, what it keeps in its data folder.',
    '',
    '```text',
    HUB_HELP.trim(),
    '```',
    '',
  ].join('\n');
}

const rows = (fields: readonly Field[], prefix: string): string[] =>
  table(
    ['key', 'type', 'default', 'range', 'example', 'meaning'],
    fields.map(({ path, schema, isRequired, meaning = '', example = '' }) => [
      `\`${path.slice(prefix.length)}\``,
      typeOf(schema),
      isRequired ? '**needed**' : standard(schema),
      rangeOf('', schema),
      `\`${example}\``,
      meaning,
    ]),
  );

function standard(schema: JsonSchema): string {
  const { default: value } = schema;
  if (value === undefined || (typeof value === 'object' && value !== null)) return '';
  const kind = typeOf(schema);
  if (typeof value !== 'number' || !['duration', 'size'].includes(kind))
    return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
  const units = kind === 'duration' ? UNITS : SIZES;
  const [unit, factor] = units.find(([, one]) => value !== 0 && value % one === 0) ?? units.at(-2) ?? ['', 1];
  return `\`${value / factor}${unit}\``;
}
