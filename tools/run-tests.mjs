// @ts-check
/**
 * `npm test`: builds the programs where they are not of today's sources, the tests beside them, and runs those under Node's
 * own test runner, four files at a time. A loader that translates each file in each process took half of the time of most files.
 * One file as it is: `node --import tsx --test test/unit/…`.
 *
 * node tools/run-tests.mjs [--full] [flags of node --test] [test files; all but the full ones when there are none]
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { ensureBuilt, ROOT, STAMP } from './ensure-built.cjs';

const DIST = dirname(STAMP);
/** Of this run: several may go on beside each other. */
const OUT = join(DIST, `test-${process.pid}`);
/** What tests start as processes of their own (test/support/from-source.ts). */
const SCRIPTS = /^(support\/child-[a-z-]+|integration\/runner\/doomed-parent)\.ts$/;
const FILES_AT_A_TIME = 4;

/**
 * Tests find their fixtures, and the sources their installation, from where the source lies.
 *
 * @type {import('esbuild').Plugin}
 */
const sourceAddresses = {
  name: 'addresses of the sources',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      if (path.includes('node_modules') || path.endsWith('stack-traces.ts')) return undefined;
      const text = readFileSync(path, 'utf8');
      if (!text.includes('import.meta.url')) return undefined;
      const contents = text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href));
      return { contents, loader: 'ts' };
    });
  },
};

const given = process.argv.slice(2);
const isFull = given.includes('--full');
/** A file of full tests may run others on several Nodes, beside whatever else keeps the machine busy. */
const FILE_TIMEOUT_MS = isFull ? 900_000 : 300_000;
const flags = given.filter((one) => one.startsWith('-') && one !== '--full');
const named = given.filter((one) => !one.startsWith('-'));
const all = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' });
const isWanted = (/** @type {string} */ name) =>
  name.endsWith('.test.ts') && name.endsWith('.full.test.ts') === isFull;
const files = named.length > 0 ? named : all.filter(isWanted).map((name) => `test/${name}`);

ensureBuilt();
// Of runs that were killed.
for (const name of readdirSync(DIST)) {
  const pid = Number(/^test-(\d+)$/.exec(name)?.[1]);
  if (pid > 0 && !isAlive(pid)) rmSync(join(DIST, name), { recursive: true, force: true });
}
await build({
  absWorkingDir: ROOT,
  entryPoints: [...files, ...all.filter((name) => SCRIPTS.test(name)).map((name) => `test/${name}`)],
  outdir: OUT,
  outbase: 'test',
  bundle: true,
  splitting: true,
  chunkNames: 'chunk-[hash]',
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  define: { OUTRIDER_TESTS: JSON.stringify(`${pathToFileURL(OUT)}/`) },
  inject: ['shared/runtime/stack-traces.ts'],
  plugins: [sourceAddresses],
  sourcemap: 'linked',
  sourcesContent: false,
  logLevel: 'warning',
});
const built = files.map((file) => join(OUT, file.replace(/^(\.\/)?test\//, '').replace(/ts$/, 'js'))).sort();
const limits = [`--test-concurrency=${FILES_AT_A_TIME}`, `--test-timeout=${FILE_TIMEOUT_MS}`];
const { status } = spawnSync(process.execPath, ['--test', ...limits, ...flags, ...built], {
  cwd: ROOT,
  stdio: 'inherit',
});
rmSync(OUT, { recursive: true, force: true });
process.exit(status ?? 1);

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
