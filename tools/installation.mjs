// @ts-check
/**
 * What belongs to an installation, and nothing else, in a folder of its own: the command, the built programs, the packages that are
 * not in them (those of one platform), models, licences. No sources and no tools, so that it never looks whether it is built. The
 * container image is made of it (Dockerfile).
 *
 * node tools/installation.mjs --to DIR [--platform linux-x64] [--models NAME,NAME] [--packages DIR/node_modules]
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureBuilt, ROOT } from './ensure-built.cjs';
import { OUTSIDE } from './outside.mjs';

/** Of Node: `process.platform` and `process.arch`. */
const PLATFORM = /^(linux|darwin|win32)-(x64|arm64)$/;
const FILES = [
  'bin',
  'deploy/install.sh',
  'deploy/systemd',
  'LICENSE',
  'NOTICE',
  'README.md',
  'package.json',
];

/** Named as a dependency, and never loaded by what we call. */
const NEVER_LOADED = new Set([
  // Of the install scripts that download CUDA libraries, and that .npmrc keeps from running.
  'onnxruntime-node > adm-zip',
  'onnxruntime-node > global-agent',
  // For browsers; package.json overrides it with an empty package.
  '@huggingface/transformers > onnxruntime-web',
]);

/** Types, maps and sources of other people's packages; the maps of ours stay, for stack traces. */
const NOT_RUN = /(\.[cm]?ts|\.map|^readme\.md|^changelog\.md)$/i;

/** What a package has besides what Node loads, by its path in the package. @type {Record<string, RegExp>} */
const LEFT_OUT = {
  'onnxruntime-node': /^(lib|script)(\/|$)/,
  sharp: /^(src|install)(\/|$)/,
  // Node takes dist/transformers.node.mjs; the rest is for browsers and for `require`.
  '@huggingface/transformers': /^(src|types)(\/|$)|^dist\/(?!transformers\.node\.mjs$)/,
};

/** @typedef {{ readonly name: string, readonly version: string, readonly license?: string, readonly dependencies?: Record<string, string>,
 *   readonly optionalDependencies?: Record<string, string>, readonly os?: readonly string[], readonly cpu?: readonly string[],
 *   readonly libc?: readonly string[] }} Package */

/** @param {{ readonly to: string, readonly platform: string, readonly models: readonly string[] | undefined, readonly packages: string }} options */
function install({ to, platform, models, packages }) {
  const [, os = '', cpu = ''] =
    PLATFORM.exec(platform) ?? fail(`--platform ${platform}: linux-x64, linux-arm64, …`);
  if (existsSync(to) && readdirSync(to).length > 0) fail(`${to} is not empty`);
  const shipped = readdirSync(join(ROOT, 'models')).filter((name) =>
    existsSync(join(ROOT, 'models', name, 'outrider.json')),
  );
  for (const name of models ?? [])
    if (!shipped.includes(name)) fail(`--models ${name}: there are ${shipped.join(', ')}`);
  const outside = packagesFor({ os, cpu, packages });
  ensureBuilt();
  mkdirSync(to, { recursive: true });
  for (const name of FILES) cpSync(join(ROOT, name), join(to, name), { recursive: true });
  cpSync(join(ROOT, 'dist'), join(to, 'dist'), {
    recursive: true,
    // What it was made of is for a checkout; a folder with a dot is another build's, test-… of tests that run, cache of this Node.
    filter: (path) => !/^(made-of\.txt|cache|test-\d+|\..*)$/.test(basename(path)),
  });
  for (const name of ['demo', ...(models ?? shipped)])
    cpSync(join(ROOT, 'models', name), join(to, 'models', name), { recursive: true });
  for (const path of outside) copyPackage(path, { from: packages, to: join(to, 'node_modules'), os, cpu });
  writeFileSync(join(to, 'LICENSES.txt'), licences(packages));
}

/**
 * The packages outside of the built files and what they load in turn, each by its path below `node_modules`.
 *
 * @param {{ readonly os: string, readonly cpu: string, readonly packages: string }} where
 */
function packagesFor({ os, cpu, packages }) {
  /** @type {Set<string>} */
  const found = new Set();
  const walk = (/** @type {string} */ path) => {
    if (found.has(path)) return;
    found.add(path);
    const { name, dependencies = {}, optionalDependencies = {} } = read(packages, path);
    for (const needed of Object.keys(dependencies))
      if (!NEVER_LOADED.has(`${name} > ${needed}`)) walk(locate(packages, path, needed) ?? needed);
    for (const wanted of Object.keys(optionalDependencies)) {
      const there = locate(packages, path, wanted);
      if (there === undefined) continue;
      const { os: systems = [], cpu: processors = [], libc = ['glibc'] } = read(packages, there);
      if (systems.includes(os) && processors.includes(cpu) && libc.includes('glibc')) walk(there);
    }
  };
  for (const name of OUTSIDE) walk(name);
  if (!found.has(`@img/sharp-${os}-${cpu}`))
    fail(
      `${packages} has no native code for ${os}-${cpu}: run npm ci --omit=dev --os=${os} --cpu=${cpu} --libc=glibc in a folder with package.json, package-lock.json and .npmrc, and name its node_modules with --packages`,
    );
  return [...found].sort();
}

/**
 * As Node looks for a package: in the folder of who asks, then further out.
 *
 * @param {string} packages
 * @param {string} from path of the package that asks
 * @param {string} name
 */
function locate(packages, from, name) {
  const outwards = from.split('/node_modules/');
  for (; outwards.length > 0; outwards.pop()) {
    const path = [...outwards, name].join('/node_modules/');
    if (existsSync(join(packages, path))) return path;
  }
  return existsSync(join(packages, name)) ? name : undefined;
}

/**
 * @param {string} path
 * @param {{ readonly from: string, readonly to: string, readonly os: string, readonly cpu: string }} where
 */
function copyPackage(path, { from, to, os, cpu }) {
  const root = join(from, path);
  const leftOut = LEFT_OUT[path];
  const binaries = path === 'onnxruntime-node' ? /^bin\/napi-v\d+\/([^/]+)(?:\/([^/]+))?/ : undefined;
  cpSync(root, join(to, path), {
    recursive: true,
    filter(file) {
      const inside = relative(root, file).split(sep).join('/');
      const [, system = os, processor = cpu] = binaries?.exec(inside) ?? [];
      if (system !== os || processor !== cpu || inside.startsWith('node_modules')) return false;
      return !NOT_RUN.test(basename(file)) && leftOut?.test(inside) !== true;
    },
  });
}

/** The licences of what is in the built files and beside them. @param {string} packages */
function licences(packages) {
  /** @type {Record<string, { readonly dev?: boolean }>} */
  const locked = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  const texts = Object.entries(locked).flatMap(([path, { dev }]) => {
    const folder = join(packages, '..', path);
    if (path === '' || dev === true || !existsSync(join(folder, 'package.json'))) return [];
    const { version, license = 'see its text' } = read(join(packages, '..'), path);
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    const text = files.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n');
    return [`${path.replace(/^.*node_modules\//, '')} ${version}: ${license}\n\n${text}`];
  });
  return `${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

/** @param {string} folder @param {string} name @returns {Package} */
function read(folder, name) {
  const path = join(folder, name, 'package.json');
  if (!existsSync(path)) fail(`${path} is not there: run npm ci`);
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** @param {string} why @returns {never} */
function fail(why) {
  process.stderr.write(`installation: ${why}\n`);
  process.exit(1);
}

const { values } = parseArgs({
  options: {
    to: { type: 'string' },
    platform: { type: 'string', default: `${process.platform}-${process.arch}` },
    models: { type: 'string' },
    packages: { type: 'string', default: join(ROOT, 'node_modules') },
  },
});
install({
  to: resolve(values.to ?? fail('--to DIR is needed')),
  platform: values.platform,
  models: values.models ? values.models.split(',') : undefined,
  packages: resolve(values.packages),
});
