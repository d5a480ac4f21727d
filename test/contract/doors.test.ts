/** What CONTRIBUTING says of how to add something: each door that it names is there, and is the table, switch or port that it is said to be. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

/** What is added -> file -> what must stand in it: the code that a new one goes into, or implements. */
const DOORS: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  'a feed': {
    'agent/ports.ts': /export interface Feed \{/,
    'agent/config/feed.ts': /const feed = z\.discriminatedUnion\('type'/,
    'agent/wiring/feeds.ts': /switch \(feed\.type\) \{/,
  },
  'a sink': {
    'agent/ports.ts': /export interface Sink \{/,
    'agent/config/sink.ts': /const sink = z\.discriminatedUnion\('type'/,
    'agent/wiring/sinks.ts': /case 'file':/,
  },
  'a task': {
    'shared/tasks/tasks.ts': /export const TASKS\b/,
    'shared/inference/tasks/loaders.ts': /Record<TaskName,/,
    'shared/release/import/foreign-tasks.ts': /Record<TaskName,/,
    'test/unit/shared/tasks/answers.ts': /Record<TaskName,/,
  },
  'an engine': {
    'cloud/ports.ts': /export interface Inferencer \{/,
    'cloud/engine/remote/remote-engines.ts': /new OpenAiInferencer/,
    'shared/contract/engines.ts': /engineKind = z.enum/,
    'shared/inference/runner/graph-session.ts': /export type OpenSession\b/,
    'test/unit/cloud/engine/seams.test.ts': /OpenSession|openSession/,
  },
  'a face of the hub': {
    'cloud/ports.ts': /export interface Asking \{/,
    'cloud/api/frame/failures.ts': /Record<ErrorShape,/,
    'cloud/api/api.ts': /faceAt\('\/v2'/,
  },
  'an address of the hub’s API': {
    'shared/contract/admin.ts': /z\.(strictObject|object)\(/,
    'cloud/ports.ts': /export interface DeviceAdmin \{/,
  },
  'a limit on what a key may ask': {
    'cloud/ports.ts': /export interface KeyAdmission \{/,
    'cloud/wiring/api.ts': /ADMITS_EVERY_KEY/,
  },
  'a reason for a version': {
    'cloud/registry/wanted-version.ts': /export function wantedVersions\b/,
    'cloud/registry/records.ts': /export const hubData\b/,
  },
  'a place for the records': {
    'cloud/registry/store.ts': /export interface Store\b/,
    'cloud/registry/registry.ts': /openStore\?: OpenStore/,
    'cloud/wiring/records.ts': /Registry\.open\(/,
    'test/unit/cloud/registry/store.test.ts': /\bSTORES\b/,
  },
  'something on a page': {},
  'an error code': { 'shared/runtime/errors.ts': /export const ERRORS = \{/ },
  'a command': { 'cli/command-line.ts': /late\(async \(\) => \(await import\('\.\/commands\// },
  'a model': {},
};

/** Its name -> what is said of it. */
function paragraphs(): Map<string, string> {
  const [, part = ''] =
    /## How to add …\n([\s\S]*?)\n## /.exec(readFileSync('CONTRIBUTING.md', 'utf8')) ?? [];
  return new Map(
    part.split(/\n\n(?=\*\*)/).flatMap((text): [string, string][] => {
      const name = /^\*\*(.+?)\*\*/.exec(text.trim())?.[1];
      return name === undefined ? [] : [[name, text]];
    }),
  );
}

test('everything that CONTRIBUTING says how to add is held here, and the other way round', () => {
  assert.deepEqual([...paragraphs().keys()].sort(), Object.keys(DOORS).sort());
});

for (const [what, files] of Object.entries(DOORS))
  test(`the doors of ${what} are where CONTRIBUTING says`, () => {
    const said = paragraphs().get(what) ?? '';
    const named = [...said.matchAll(/`((?:agent|cli|cloud|models|shared|test)\/[A-Za-z0-9._/-]*)`/g)].map(
      ([, path = '']) => path,
    );
    assert.ok(named.length > 0);
    for (const path of named) assert.ok(existsSync(path), path);
    for (const [path, door] of Object.entries(files)) {
      assert.ok(named.includes(path), `${path} is not named`);
      assert.match(readFileSync(path, 'utf8'), door, path);
    }
  });

test('the eight changes that the tree was laid out for have a door', () => {
  const text = [...paragraphs().values()].join('\n');
  for (const change of [
    'RTSP',
    'webhook',
    'OpenAI',
    'stages',
    'PostgreSQL',
    'Triton',
    'quotas',
    'segmentation',
  ])
    assert.ok(text.includes(change), change);
});
