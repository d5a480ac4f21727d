// @ts-check
/**
 * `npm test`: builds the programs where they are not of today's sources, the tests beside them, and runs those under Node's
 * own test runner, four files at a time. A loader that translates each file in each process took half of the time of most files.
 * Unit tests share a process with their neighbours: to start Node and to load what they test takes longer than most of them run.
 * One file as it is: `node --import ./tools/from-source.mjs --test test/unit/…`.
 *
 * node tools/run-tests.mjs [--full] [flags of node --test] [test files; all but the full ones when there are none]
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
const UNITS_A_PROCESS = 12;
/** Hooks of a file would be those of all files in its process. */
const HAS_HOOKS = /^(before|after)(Each)?\(/m;

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
      const isTest = path.startsWith(join(ROOT, 'test'));
      const contents = text
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href))
        .replaceAll('new AppError(', isTest ? 'new (class extends AppError {})(' : 'new AppError(');
      return contents === text ? undefined : { contents, loader: 'ts' };
    });
  },
};

/** Each code of an error that the programs' own code has made, written down when a test's process ends. */
const RECORDER = `import { appendFileSync as outriderAppend } from 'node:fs';
const provoked = new Set();
process.once('exit', () => {
  if (provoked.size > 0) outriderAppend(${JSON.stringify(join(OUT, 'provoked.txt'))}, [...provoked, ''].join('\\n'));
});
`;
const SOURCE_OF_ERRORS = join(ROOT, 'shared/runtime/errors.ts');
const MADE = 'this.code = code;';

/**
 * An error that a test makes itself is none that it provokes, so that it makes a subclass.
 *
 * @type {import('esbuild').Plugin}
 */
const provokedErrors = {
  name: 'provoked errors',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]runtime[\\/]errors\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (path !== SOURCE_OF_ERRORS || !text.includes(MADE)) throw new Error(`${path}: no place to listen`);
      const recording = text.replace(MADE, `${MADE} if (new.target === AppError) provoked.add(code);`);
      return { contents: `${RECORDER}${recording}`, loader: 'ts' };
    });
  },
};

const given = process.argv.slice(2);
const isFull = given.includes('--full');
/** Ends what hangs; a file that takes a minute by itself takes ten on a machine that is that busy, and has not hung. */
const FILE_TIMEOUT_MS = 900_000;
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
  plugins: [provokedErrors, sourceAddresses],
  sourcemap: 'linked',
  sourcesContent: false,
  logLevel: 'warning',
});
const apart = named.length > 0 ? files : files.filter((file) => !sharesProcess(file));
const built = [...apart.map(builtFile).sort(), ...unitGroups()];
const limits = [`--test-concurrency=${FILES_AT_A_TIME}`, `--test-timeout=${FILE_TIMEOUT_MS}`];
// What has failed stands at the end again, where a log that was cut off still has it.
const reporter = flags.some((flag) => flag.startsWith('--test-reporter')) ? [] : ['--test-reporter=spec'];
const { status } = spawnSync(process.execPath, ['--test', ...limits, ...reporter, ...flags, ...built], {
  cwd: ROOT,
  stdio: 'inherit',
});
// Of a part of the tests, and of the full ones, nothing follows.
const unprovoked = named.length === 0 && !isFull ? await unprovokedCodes() : [];
if (unprovoked.length > 0)
  process.stderr.write(
    `error codes that no test provokes in the programs' own code: ${unprovoked.join(', ')}\n`,
  );
rmSync(OUT, { recursive: true, force: true });
process.exit(status || (unprovoked.length > 0 ? 1 : (status ?? 1)));

/** @param {string} file */
function sharesProcess(file) {
  return file.startsWith('test/unit/') && !HAS_HOOKS.test(readFileSync(join(ROOT, file), 'utf8'));
}

/** @param {string} file */
function builtFile(file) {
  return join(OUT, file.replace(/^(\.\/)?test\//, '').replace(/ts$/, 'js'));
}

/** Files that load the unit tests, some neighbours each. */
function unitGroups() {
  const units = files.filter((file) => !apart.includes(file)).sort();
  return Array.from({ length: Math.ceil(units.length / UNITS_A_PROCESS) }, (_, index) => {
    const group = units.slice(index * UNITS_A_PROCESS, (index + 1) * UNITS_A_PROCESS);
    const lines = group.map((unit) => `import ${JSON.stringify(pathToFileURL(builtFile(unit)).href)};\n`);
    const file = join(OUT, `units-${index + 1}.js`);
    writeFileSync(file, lines.join(''));
    return file;
  });
}

/** Codes of the table that the programs' code has not made in any test. */
async function unprovokedCodes() {
  const provoked = new Set(readFileSync(join(OUT, 'provoked.txt'), 'utf8').split('\n'));
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [SOURCE_OF_ERRORS],
    bundle: true,
    write: false,
    format: 'esm',
  });
  const source = Buffer.from(outputFiles[0]?.contents ?? '').toString('base64');
  const { ERROR_CODES } = await import(`data:text/javascript;base64,${source}`);
  return ERROR_CODES.filter((/** @type {string} */ code) => !provoked.has(code));
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
