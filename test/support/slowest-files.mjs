/**
 * A reporter: which test files took longest, with how many tests, for whoever wants the tests to be quicker.
 *
 * npm test -- --test-reporter=./test/support/slowest-files.mjs
 */
import { relative } from 'node:path';

export default async function* slowestFiles(source) {
  const files = new Map();
  for await (const { type, data } of source) {
    if ((type !== 'test:pass' && type !== 'test:fail') || data.nesting !== 0) continue;
    const file = files.get(data.file) ?? { ms: 0, tests: 0, failed: [] };
    file.ms += data.details.duration_ms;
    file.tests += 1;
    if (type === 'test:fail') file.failed.push(data.name);
    files.set(data.file, file);
  }
  const rows = [...files].sort(([, one], [, other]) => other.ms - one.ms);
  for (const [path, { ms, tests, failed }] of rows) {
    yield `${(ms / 1000).toFixed(1).padStart(8)} s  ${String(tests).padStart(4)}  ${relative('.', path ?? '').replace(/^dist\/test-\d+\/(.*)\.js$/, 'test/$1.ts')}\n`;
    for (const name of failed) yield `          failed: ${name}\n`;
  }
}
