import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { brokenCitations, writtenFiles } from '../support/citations.ts';
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
