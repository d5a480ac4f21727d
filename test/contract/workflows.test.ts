import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';

const workflow = z.object({
  name: z.string(),
  on: z.unknown(),
  permissions: z.record(z.string(), z.string()),
  jobs: z.record(
    z.string(),
    z.object({
      needs: z.string().optional(),
      'runs-on': z.string(),
      'timeout-minutes': z.number(),
      steps: z.array(z.object({ uses: z.string().optional(), run: z.string().optional() })),
    }),
  ),
});
const form = z.object({
  name: z.string(),
  description: z.string(),
  body: z.array(z.object({ type: z.string(), id: z.string().optional() })),
});

const read = (path: string): unknown => parse(readFileSync(path, 'utf8'));
const scripts = z
  .object({ scripts: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync('package.json', 'utf8'))).scripts;
const WORKFLOWS = readdirSync('.github/workflows').map((name) => `.github/workflows/${name}`);
const jobsOf = (path: string) => Object.entries(workflow.parse(read(path)).jobs);

/** The scripts of package.json that a command line runs. */
const named = (command: string): string[] =>
  [...command.matchAll(/\bnpm (?:run(?: -s)? )?((?!ci\b|install\b|run\b)[\w:]+)/g)].map(
    ([, name = '']) => name,
  );

test('every npm script and every path that a workflow names exists', () => {
  const runs = WORKFLOWS.flatMap((path) =>
    jobsOf(path).flatMap(([, { steps }]) => steps.flatMap(({ run }) => run ?? [])),
  );
  assert.deepEqual(
    runs.flatMap(named).filter((name) => !(name in scripts)),
    [],
  );
  const paths = runs.flatMap((run) => run.match(/\b(?:test|tools|deploy)\/[\w./-]+/g) ?? []);
  assert.ok(paths.length > 0);
  assert.deepEqual(
    paths.filter((path) => !existsSync(path)),
    [],
  );
});

test('check, all tests, the full tests and the installation run somewhere, and each job waits for one that exists', () => {
  const jobs = WORKFLOWS.flatMap(jobsOf);
  const all = new Set(jobs.flatMap(([, { steps }]) => steps.flatMap(({ run }) => named(run ?? ''))));
  assert.deepEqual([...all].sort(), ['check', 'test', 'test:full', 'test:install']);
  const folders = jobs.flatMap(([, { steps }]) =>
    steps.flatMap(({ run }) => run?.match(/test\/\w+(?= )/g) ?? []),
  );
  const written = readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${name.split('/')[0]}`);
  assert.deepEqual([...new Set(folders)].sort(), [...new Set(written)].sort());
  for (const [name, { needs }] of jobs)
    assert.ok(needs === undefined || jobs.some(([other]) => other === needs), `${name} waits for ${needs}`);
});

test('the issue forms have what GitHub asks of one', () => {
  const forms = readdirSync('.github/ISSUE_TEMPLATE').filter((name) => name !== 'config.yml');
  for (const name of forms) {
    const { body } = form.parse(read(`.github/ISSUE_TEMPLATE/${name}`));
    const ids = body.flatMap(({ id }) => id ?? []);
    assert.equal(new Set(ids).size, ids.length, name);
    assert.ok(
      body.every(({ type, id }) => type === 'markdown' || id !== undefined),
      name,
    );
  }
});

test('the changelog has the form of keepachangelog.com', () => {
  const headings = readFileSync('CHANGELOG.md', 'utf8').match(/^##+ .*$/gm) ?? [];
  assert.equal(headings[0], '## [Unreleased]');
  for (const heading of headings.slice(1))
    assert.match(
      heading,
      /^## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}$|^### (?:Added|Changed|Deprecated|Removed|Fixed|Security)$/,
    );
});
