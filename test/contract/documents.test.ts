import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { configFile } from '../../agent/config/config-file.ts';
import { program } from '../../cli/command-line.ts';
import { brokenCitations, writtenFiles } from '../support/citations.ts';
import { helpOf } from '../support/command-line-page.ts';
import { documents } from '../support/documents.ts';

for (const [path, content] of Object.entries(documents())) {
  test(`${path} says what the code does (npm run docs)`, () => {
    assert.equal(readFileSync(path, 'utf8'), content);
  });
}

test('every page, section, decision, path and link that is cited exists', () => {
  const broken = writtenFiles().flatMap((path) =>
    brokenCitations(path, readFileSync(path, 'utf8')).map((cited) => `${path}: ${cited}`),
  );
  assert.deepEqual(broken, []);
});

/** The least of each kind of feed. */
const FEEDS: Readonly<Record<string, object>> = {
  folder: { type: 'folder', path: 'pictures', repeat: { pace: '1s' } },
  'text-lines': { type: 'text-lines', path: 'pictures', repeat: { pace: '1s' } },
  camera: {
    type: 'camera',
    url: 'rtsp://camera/stream',
    masks: [
      {
        polygon: [
          [0, 0],
          [1, 0],
          [1, 1],
        ],
      },
    ],
  },
};

/** The least of each kind of sink. */
const SINKS: Readonly<Record<string, object>> = {
  file: { type: 'file', path: 'gate.ndjson' },
  mqtt: { type: 'mqtt', url: 'mqtt://broker', topic: 'gate' },
  webhook: { type: 'webhook', url: 'https://example.com/hook' },
  snapshots: { type: 'snapshots', path: 'shots' },
};

test('every example of docs/configuration.md is taken', () => {
  const rows = readFileSync('docs/configuration.md', 'utf8').matchAll(
    /^\| `([\w.[\]]+)` \| .* \| `(.*)` \| (.*) \|$/gm,
  );
  const examples = [...rows].map(([, key = '', example = '', meaning]) => ({
    key: ofPipeline(key) ? `pipelines[].${key}` : key,
    example: parse(example.replaceAll('\\|', '|')),
    type: /^feed\.(masks|motion)/.test(key)
      ? 'camera'
      : /Only with `type: ([\w-]+)`/.exec(meaning ?? '')?.[1],
  }));
  assert.ok(examples.length > 50);
  const types = new Map(examples.map(({ key, type }) => [key, type]));
  for (const { key, example } of examples) {
    // What stands inside of a key is only with its type, too.
    const type = types.get(key) ?? types.get(key.replace(/(?:\[\])?\.\w+$/, ''));
    const config = {
      pipelines: [
        {
          name: 'gate',
          edge: 'small',
          ...(sensorOf(key, type) ?? {
            task: 'image-classification',
            feed: structuredClone(FEEDS[type ?? ''] ?? FEEDS.folder),
          }),
          route: { price: { currency: 'EUR' } },
          redact: [key.endsWith('.phone') ? { phone: 'DE' } : { pattern: 'a', as: 'b' }],
          sinks: [structuredClone(SINKS[type ?? ''] ?? SINKS.file)],
        },
      ],
    };
    put(config, key.replaceAll('[]', '.0').split('.'), example);
    assert.deepEqual(configFile.safeParse(config).error?.issues ?? [], [], key);
  }
});

/** A pipeline in which the key of a sensor's feed may stand; undefined: it is of another feed. */
function sensorOf(key: string, type: string | undefined): object | undefined {
  if (!key.startsWith('pipelines[].feed.')) return undefined;
  if (type !== 'mqtt' && type !== 'lines' && !/\.(channels|window)/.test(key)) return undefined;
  const window = /window\.(time|rate)/.test(key) ? { time: '20s', rate: 5 } : { count: 100 };
  const feed =
    type === 'lines' || key.endsWith('.column')
      ? { type: 'lines', command: ['cat'], channels: [{ column: 1 }], window }
      : { type: 'mqtt', url: 'mqtt://broker', channels: [{ topic: 'a' }], window };
  return { task: 'time-series-classification', feed };
}

const ofPipeline = (key: string): boolean =>
  ![
    'device',
    'labels',
    'hub',
    'dataDir',
    'link',
    'sync',
    'outbox',
    'disk',
    'sent',
    'runner',
    'pipelines',
  ].includes(key.split('.')[0] ?? '');

function put(into: object, [key = '', ...rest]: readonly string[], value: unknown): void {
  const record = into as Record<string, unknown>;
  if (rest.length === 0) record[key] = value;
  else {
    record[key] ??= rest[0] === '0' ? [] : {};
    put(record[key] as object, rest, value);
  }
}

test('every command that a page shows exists, with its options', () => {
  const shown = ['README.md', ...readdirSync('docs').map((name) => `docs/${name}`)]
    .filter((path) => path.endsWith('.md') && path !== 'docs/cli.md')
    .flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/npx outrider ([a-z][^`\n|]*)/g)].map(([, line = '']) => ({
        path,
        line,
      })),
    );
  assert.ok(shown.length > 40);
  for (const { path, line } of shown) {
    const words = line.split(/\s+/);
    let command = program;
    let name = 'outrider';
    for (const word of words) {
      const next = command.commands.find((one) => one.name() === word);
      if (!next) break;
      command = next;
      name = `${name} ${word}`;
    }
    assert.notEqual(command, program, `${path}: ${line}`);
    const help = helpOf(command, name);
    for (const flag of line.match(/(?<=\s)--[a-z-]+/g) ?? [])
      assert.ok(help.includes(`${flag} `), `${path}: ${name} has no ${flag}`);
  }
});

test('a citation that leads nowhere is found', () => {
  const page = 'docs/design/router.md';
  assert.deepEqual(
    brokenCitations('a.ts', `/** So it is (${page} 2.3, 2.4 and 4.1; ${page}#28-edge-cases). */`),
    [],
  );
  assert.deepEqual(brokenCitations('a.ts', `// measured (${page}\n  // 2.99).`), [`${page} 2.99`]);
  assert.deepEqual(brokenCitations('a.ts', `/** ${page}#nowhere */`), [`${page}#nowhere`]);
  assert.deepEqual(brokenCitations('a.ts', `/** docs/${'gone'}.md 1 */`), [`docs/${'gone'}.md 1`]);
  assert.deepEqual(brokenCitations('a.ts', `// docs/decisions/${9999}`), [`docs/decisions/${9999}`]);
  assert.deepEqual(brokenCitations('a.py', `# ${'LINK'}.md 4`), [`${'LINK'}.md`]);
  assert.deepEqual(brokenCitations('README.md', `[a](docs/${'none'}.png), \`agent/none.ts\``), [
    `](docs/${'none'}.png)`,
    'agent/none.ts',
  ]);
});
