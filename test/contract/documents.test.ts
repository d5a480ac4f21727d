import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { documents } from '../support/documents.ts';

for (const [path, content] of Object.entries(documents())) {
  test(`${path} says what the code does (npm run docs)`, () => {
    assert.equal(readFileSync(path, 'utf8'), content);
  });
}

test('every path that the documents name exists', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    ...readdirSync('docs')
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ];
  const missing = pages.flatMap((page) => {
    const named = readFileSync(page, 'utf8').matchAll(
      /`((?:agent|cloud|shared|models|test|docs|bin|deploy)\/[A-Za-z0-9._/-]+)`|\]\((?!https?:|#)([^)#]+)[^)]*\)/g,
    );
    return [...named]
      .map(
        ([, code, link]) =>
          code ?? (page.startsWith('docs/') && link !== undefined ? `docs/${link}` : link) ?? '',
      )
      .filter((path) => !path.includes('*') && !path.includes('NNNN') && !existsSync(path))
      .map((path) => `${page}: ${path}`);
  });
  assert.deepEqual(missing, []);
});
