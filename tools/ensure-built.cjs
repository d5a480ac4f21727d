// @ts-check
/**
 * Whether `dist/` is what the sources say, and the build where it is not. Everything that `dist/` is made of is compared by path,
 * size and time of change with what was noted when it was built, so that an older file that comes back counts as a change, too.
 * CommonJS, because a program that is started from the sources asks without waiting, and a command within milliseconds.
 */
const { spawnSync } = require('node:child_process');
const { readdirSync, readFileSync, statSync } = require('node:fs');
const { join } = require('node:path');

const ROOT = join(__dirname, '..');
/** Beside the built files: the fingerprint of what they were made of. */
const STAMP = join(ROOT, 'dist', 'made-of.txt');
const SOURCE_FOLDERS = ['agent', 'cli', 'cloud', 'shared', 'tools'];
/** npm writes the last one whenever it changes an installed package. */
const SOURCE_FILES = ['package.json', 'package-lock.json', 'node_modules/.package-lock.json'];

/** A line for each file; 4 ms for 400 files. */
function fingerprint() {
  /** @type {string[]} */
  const lines = [];
  const note = (/** @type {string} */ path) => {
    const facts = statSync(join(ROOT, path), { throwIfNoEntry: false });
    if (facts?.isFile()) lines.push(`${path} ${facts.size} ${facts.mtimeMs}`);
  };
  const walk = (/** @type {string} */ folder) => {
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) walk(path);
      else note(path);
    }
  };
  for (const folder of SOURCE_FOLDERS) walk(folder);
  for (const path of SOURCE_FILES) note(path);
  return `${lines.sort((one, other) => (one < other ? -1 : 1)).join('\n')}\n`;
}

function isBuilt() {
  try {
    return readFileSync(STAMP, 'utf8') === fingerprint();
  } catch {
    return false;
  }
}

/** Builds where it must, in a process of its own; ends this one where that fails, since its output has said why. */
function ensureBuilt() {
  if (isBuilt()) return;
  const { status } = spawnSync(process.execPath, [join(__dirname, 'build.mjs'), '--if-needed'], {
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) process.exit(status ?? 1);
}

module.exports = { ROOT, STAMP, ensureBuilt, fingerprint, isBuilt };
