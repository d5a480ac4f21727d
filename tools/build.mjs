// @ts-check
/**
 * `npm run build`: a file for each program in `dist/`, with what few need of it in files of their own, beside the files of the pages. Commands call it by themselves where `dist/` is not
 * of today's sources (tools/ensure-built.cjs).
 *
 * node tools/build.mjs [--if-needed]
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fingerprint, isBuilt, ROOT, STAMP } from './ensure-built.cjs';
import { OPTIONAL, OUTSIDE } from './outside.mjs';

const DIST = dirname(STAMP);
/** Built file (shared/runtime/installation.ts names them) -> source. */
const PROGRAMS = {
  agent: 'agent/main.ts',
  'agent-reading': 'agent/api/reading-main.ts',
  broker: 'cloud/broker/main.ts',
  delta: 'shared/release/delta/delta-main.ts',
  hub: 'cloud/main.ts',
  'hub-reading': 'cloud/api/reading/reading-main.ts',
  outrider: 'cli/main.ts',
  runner: 'shared/inference/runner/runner-main.ts',
};
/** Files that are read beside the code, at the same path below `dist/pages/`. */
const PAGE_FOLDERS = ['agent/api/page', 'cloud/dashboard', 'shared/page'];
const PAGE_FILE = /\.(css|html|js|svg)$/;
/** Packages that are CommonJS ask for Node's modules by `require`, which a module does not have. */
const REQUIRE =
  "import { createRequire as outriderCreateRequire } from 'node:module';const require = outriderCreateRequire(import.meta.url);";

/**
 * zod carries its messages in 45 languages, all of them reachable by its namespace; we speak the one that it falls back to.
 *
 * @type {import('esbuild').Plugin}
 */
const oneLanguage = {
  name: 'one language of zod',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({ contents: '', loader: 'js' }));
  },
};

/** @satisfies {import('esbuild').BuildOptions} */
const OPTIONS = {
  absWorkingDir: ROOT,
  // Where the maps name their sources from; written by ourselves, aside.
  outdir: DIST,
  write: /** @type {const} */ (false),
  bundle: true,
  platform: /** @type {const} */ ('node'),
  format: /** @type {const} */ ('esm'),
  target: 'node20.19',
  external: [...OUTSIDE, ...OPTIONAL],
  define: { OUTRIDER_BUILT: 'true' },
  inject: ['shared/runtime/stack-traces.ts'],
  banner: { js: REQUIRE },
  plugins: [oneLanguage],
  // Half as much to read and to compile at each start. Names stay, for stack traces and logs, and lines that a terminal can show.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  sourcemap: /** @type {const} */ ('linked'),
  sourcesContent: false,
  logLevel: /** @type {const} */ ('warning'),
};

async function build() {
  const esbuild = await import('esbuild').catch(() => {
    throw new Error(
      'esbuild, which makes the programs of these sources, is not installed: run npm install (without --omit=dev), then npm run build',
    );
  });
  const madeOf = fingerprint();
  mkdirSync(DIST, { recursive: true });
  // Built aside and renamed: a program that starts meanwhile finds whole files.
  const aside = mkdtempSync(join(DIST, '.new-'));
  try {
    const made = await Promise.all(
      Object.entries(PROGRAMS).map(([name, source]) =>
        esbuild.build({
          ...OPTIONS,
          entryPoints: { [name]: source },
          // What few need (a command, a kind of feed or sink) is read when it is asked for.
          splitting: true,
          chunkNames: `${name}-[name]-[hash]`,
        }),
      ),
    );
    for (const { path, contents } of made.flatMap(({ outputFiles }) => outputFiles))
      writeFileSync(join(aside, basename(path)), contents);
    for (const folder of PAGE_FOLDERS)
      for (const name of readdirSync(join(ROOT, folder)).filter((one) => PAGE_FILE.test(one)))
        cpSync(join(ROOT, folder, name), join(aside, 'pages', folder, name));
    rmSync(STAMP, { force: true });
    const names = new Set(readdirSync(aside));
    const isOfProgram = (/** @type {string} */ name) =>
      Object.keys(PROGRAMS).some((program) => name.startsWith(`${program}-`));
    for (const name of readdirSync(DIST))
      if (name === 'pages' || name === 'cache' || (!names.has(name) && isOfProgram(name)))
        rmSync(join(DIST, name), { recursive: true, force: true });
    for (const name of names) renameSync(join(aside, name), join(DIST, name));
    writeFileSync(STAMP, madeOf);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

/**
 * Holds the build for this process alone; the kernel drops a listening socket with its process, so nothing is left to clean up.
 *
 * @returns how to let go, or undefined when another had it and has let go of it meanwhile
 */
async function lock() {
  const key = `outrider-build-${createHash('sha256').update(ROOT).digest('hex').slice(0, 24)}`;
  const isFile = process.platform !== 'linux' && process.platform !== 'win32';
  const name = isFile
    ? join(tmpdir(), `${key}.lock`)
    : process.platform === 'linux'
      ? `\0${key}`
      : `\\\\.\\pipe\\${key}`;
  /** @type {Set<import('node:net').Socket>} */
  const waiting = new Set();
  const server = createServer((socket) => waiting.add(socket.on('error', () => undefined)));
  const isHeld = await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(name, () => resolve(true));
  });
  if (isHeld)
    return () => {
      server.close();
      for (const socket of waiting) socket.destroy();
    };
  const hadHolder = await new Promise((resolve) => {
    const socket = createConnection(name);
    socket.once('connect', () => socket.once('close', () => resolve(true)).resume());
    socket.once('error', () => resolve(false));
  });
  if (!hadHolder && isFile) rmSync(name, { force: true });
  return undefined;
}

const isOnlyIfNeeded = process.argv.includes('--if-needed');
try {
  for (;;) {
    const unlock = await lock();
    if (unlock === undefined) {
      await delay(10);
      if (isBuilt()) break;
      continue;
    }
    try {
      if (!isOnlyIfNeeded || !isBuilt()) {
        const startMonoMs = performance.now();
        await build();
        if (!isOnlyIfNeeded || process.env.OUTRIDER_DEBUG)
          process.stderr.write(`built in ${Math.round(performance.now() - startMonoMs)} ms: ${DIST}\n`);
      }
    } finally {
      unlock();
    }
    break;
  }
} catch (error) {
  process.stderr.write(`outrider: cannot be built: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
