// @ts-check
/**
 * `outrider release`: an installation for one platform (tools/installation.mjs) as one archive, with a manifest of its files and their
 * digests, and with Node where that is asked for. Nothing has to be there where it is unpacked but, without Node in it, Node. The same
 * sources and packages give the same bytes.
 *
 * node tools/release.mjs [--platform linux-x64] [--models NAME,NAME] [--with-node] [--out DIR] [--json]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { ROOT } from './ensure-built.cjs';

/** Of devices and hubs; each with the C library that ONNX Runtime is built for. */
const PLATFORMS = ['linux-x64', 'linux-arm64'];
/** Small ones that answer on a device, so that a fresh one has something to show. */
const DEFAULT_MODELS = 'cifar10-cnn,sst2-lstm';
const NODE_MAJOR = 24;

/** Finds the Node that came with it; `current` of an installed device is a link to the folder. */
const LAUNCHER = `#!/bin/sh
# The outrider command of this release, by the Node that came with it, else the system's.
here=$(dirname "$(readlink -f "$0")")
node="$here/../node/bin/node"
[ -x "$node" ] || node=node
exec "$node" --max-semi-space-size=2 "$here/outrider.mjs" "$@"
`;

/**
 * @typedef {{ readonly path: string, readonly bytes: number, readonly sha256: string }} ReleasedFile
 * @typedef {{ readonly name: string, readonly version: string, readonly platform: string, readonly node: string | null,
 *   readonly models: readonly string[], readonly dataFormat: number, readonly bytes: number, readonly files: readonly ReleasedFile[] }} Manifest
 */

/** @param {{ readonly platform: string, readonly models: string, readonly withNode: boolean, readonly out: string }} options */
async function release({ platform, models, withNode, out }) {
  if (!PLATFORMS.includes(platform)) fail(`--platform ${platform}: ${PLATFORMS.join(' or ')}`);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const work = mkdtempSync(join(tmpdir(), 'outrider-release-'));
  try {
    const name = `outrider-${version}-${platform}`;
    const folder = join(work, name);
    const packages = packagesOf(platform, work);
    run(process.execPath, [
      join(ROOT, 'tools/installation.mjs'),
      ...['--to', folder, '--platform', platform, '--models', models],
      ...(packages === undefined ? [] : ['--packages', packages]),
    ]);
    writeFileSync(join(folder, 'bin/outrider'), LAUNCHER);
    chmodSync(join(folder, 'bin/outrider'), 0o755);
    const node = withNode ? bringNode(platform, work, folder) : null;
    const files = await filesOf(folder);
    /** @type {Manifest} */
    const manifest = {
      ...{ name: 'outrider', version, platform, node, models: models.split(',') },
      dataFormat: dataFormat(),
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      files,
    };
    writeFileSync(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    mkdirSync(out, { recursive: true });
    const archive = join(out, `${name}.tar.gz`);
    pack(work, name, `${archive}.part`);
    const sha256 = await digestOf(`${archive}.part`);
    renameSync(`${archive}.part`, archive);
    // As `sha256sum -c` reads it.
    writeFileSync(`${archive}.sha256`, `${sha256}  ${basename(archive)}\n`);
    return {
      archive,
      version,
      platform,
      node,
      sha256,
      bytes: statSync(archive).size,
      unpackedBytes: manifest.bytes,
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * The packages of another platform, fetched as the lock file has them; undefined where those of this checkout will do.
 *
 * @param {string} platform
 * @param {string} work
 */
function packagesOf(platform, work) {
  const [os = '', cpu = ''] = platform.split('-');
  if (existsSync(join(ROOT, 'node_modules/@img', `sharp-${platform}`))) return undefined;
  const folder = join(work, 'packages');
  mkdirSync(folder);
  for (const name of ['package.json', 'package-lock.json', '.npmrc'])
    copyFileSync(join(ROOT, name), join(folder, name));
  const wanted = [`--os=${os}`, `--cpu=${cpu}`, '--libc=glibc'];
  run('npm', ['ci', '--omit=dev', '--no-audit', '--no-fund', ...wanted], folder);
  return join(folder, 'node_modules');
}

/**
 * @param {string} platform
 * @param {string} work
 * @param {string} folder
 * @returns {string} its version
 */
function bringNode(platform, work, folder) {
  const name = `node-${platform}`;
  const [os = '', cpu = ''] = platform.split('-');
  const prefix = join(work, 'node');
  mkdirSync(prefix);
  const wanted = [`--os=${os}`, `--cpu=${cpu}`, '--force', '--no-save', '--no-audit', '--no-fund'];
  run('npm', ['install', '--prefix', prefix, ...wanted, `${name}@${NODE_MAJOR}`], prefix);
  const from = join(prefix, 'node_modules', name);
  mkdirSync(join(folder, 'node/bin'), { recursive: true });
  copyFileSync(join(from, 'bin/node'), join(folder, 'node/bin/node'));
  chmodSync(join(folder, 'node/bin/node'), 0o755);
  if (existsSync(join(from, 'LICENSE'))) copyFileSync(join(from, 'LICENSE'), join(folder, 'node/LICENSE'));
  return JSON.parse(readFileSync(join(from, 'package.json'), 'utf8')).version;
}

/** @param {string} folder @returns {Promise<ReleasedFile[]>} by path, in the order of bytes */
async function filesOf(folder) {
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
    .sort((one, other) => (one < other ? -1 : 1));
  const files = [];
  for (const path of paths)
    files.push({
      path,
      bytes: statSync(join(folder, path)).size,
      sha256: await digestOf(join(folder, path)),
    });
  return files;
}

/** Form of the data that these sources write: who goes back from them has to read it. */
function dataFormat() {
  const source = readFileSync(join(ROOT, 'shared/runtime/data-format.ts'), 'utf8');
  return Number(/^export const DATA_FORMAT = (\d+);$/m.exec(source)?.[1] ?? fail('there is no DATA_FORMAT'));
}

/** @param {string} path */
async function digestOf(path) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Owners, times and modes of who builds say nothing. @param {string} work @param {string} name @param {string} to */
function pack(work, name, to) {
  const same = ['--sort=name', '--format=ustar', '--owner=0', '--group=0', '--numeric-owner'];
  const mtime = `--mtime=@${process.env.SOURCE_DATE_EPOCH ?? 0}`;
  run('tar', ['-C', work, ...same, mtime, '--mode=u+rwX,go+rX,go-w', '-I', 'gzip -n -9', '-cf', to, name]);
}

/** @param {string} command @param {readonly string[]} args @param {string} [cwd] */
function run(command, args, cwd = ROOT) {
  // What it has to say is no part of what we print.
  const { status, error } = spawnSync(command, args, { cwd, stdio: ['ignore', 2, 2] });
  if (error) fail(`${command} cannot be run: ${error.message}`);
  if (status !== 0) fail(`${command} has failed`);
}

/** @param {string} why @returns {never} */
function fail(why) {
  throw new Error(why);
}

const { values } = parseArgs({
  options: {
    platform: { type: 'string', default: `${process.platform}-${process.arch}` },
    models: { type: 'string', default: DEFAULT_MODELS },
    'with-node': { type: 'boolean', default: false },
    out: { type: 'string', default: '.' },
    json: { type: 'boolean', default: false },
  },
});
const made = await release({
  platform: values.platform,
  models: values.models,
  withNode: values['with-node'],
  out: resolve(values.out),
}).catch((error) => {
  process.stderr.write(`release: ${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
});
const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
process.stdout.write(
  values.json
    ? `${JSON.stringify(made)}\n`
    : `${made.archive}\n${megabytes(made.bytes)}, ${megabytes(made.unpackedBytes)} unpacked, ${made.node === null ? 'without Node' : `with Node ${made.node}`}\nsha256 ${made.sha256}\n`,
);
