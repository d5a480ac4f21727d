/**
 * The image that ours stands on: one that is named, the one that the registry has, or, where no registry answers, one like it made
 * of Debian's packages and the package registry's Node.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Engine } from './engine.ts';

const NAME = 'docker.io/library/node:24-bookworm-slim';
const NODE_MAJOR = 24;
const PULL_MS = 60_000;

/** @returns its name in the engine's store */
export function baseImage(engine: Engine): string {
  const named = process.env.OUTRIDER_BASE_IMAGE;
  if (named) {
    const archive = join(engine.folder, 'base.tar');
    execFileSync('podman', ['save', '--quiet', '--output', archive, named]);
    engine.podman('load', '--quiet', '--input', archive);
    return named;
  }
  if (!isPulled(engine)) makeOfPackages(engine);
  return NAME;
}

/** Without a registry in reach that takes a while to be seen. */
function isPulled(engine: Engine): boolean {
  const { status } = spawnSync('timeout', [
    String(PULL_MS / 1_000),
    'podman',
    ...['--root', join(engine.folder, 'store'), '--runroot', join(engine.folder, 'run')],
    ...['pull', '--quiet', NAME],
  ]);
  return status === 0;
}

function makeOfPackages(engine: Engine): void {
  const work = mkdtempSync(join(engine.folder, 'base-'));
  const root = join(work, 'root');
  execFileSync('debootstrap', ['--variant=minbase', '--include=ca-certificates', 'bookworm', root], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  // What the package `node` fetches by an install script, which .npmrc forbids to whoever runs below `npm run`.
  const program = `node-linux-${process.arch}`;
  execFileSync('npm', ['init', '--yes'], { cwd: work, stdio: 'ignore' });
  execFileSync('npm', ['install', '--no-audit', '--no-fund', `${program}@${NODE_MAJOR}`], {
    cwd: work,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  installNode(join(work, 'node_modules', program, 'bin', 'node'), root);
  execFileSync('chroot', [root, 'useradd', '--create-home', '--uid', '1000', 'node']);
  const archive = join(work, 'root.tar');
  execFileSync('tar', [
    ...['-C', root, '--exclude=./var/cache/apt/archives/*.deb', '--exclude=./var/lib/apt/lists/*'],
    ...['-cf', archive, '.'],
  ]);
  engine.podman('import', '--quiet', archive, NAME);
}

function installNode(program: string, root: string): void {
  copyFileSync(program, join(root, 'usr/local/bin/node'));
  chmodSync(join(root, 'usr/local/bin/node'), 0o755);
  const modules = join(root, 'usr/local/lib/node_modules');
  mkdirSync(modules, { recursive: true });
  const npm = execFileSync('sh', ['-c', 'readlink -f "$(command -v npm)"'], { encoding: 'utf8' }).trim();
  cpSync(dirname(dirname(npm)), join(modules, 'npm'), { recursive: true, verbatimSymlinks: true });
  for (const [name, file] of [
    ['npm', 'npm-cli.js'],
    ['npx', 'npx-cli.js'],
  ] as const)
    symlinkSync(`../lib/node_modules/npm/bin/${file}`, join(root, 'usr/local/bin', name));
}

/** How the build's npm reaches this machine's package registry: mounted while it builds, and in no layer. */
export function registryMounts(engine: Engine): string[] {
  const own = join(process.env.HOME ?? '/root', '.npmrc');
  const lines = existsSync(own) ? [readFileSync(own, 'utf8')] : [];
  const said = execFileSync('npm', ['config', 'get', 'cafile'], { encoding: 'utf8' }).trim();
  const authorities = process.env.NODE_EXTRA_CA_CERTS ?? (said === 'null' ? undefined : said);
  const mounts: string[] = [];
  if (authorities) {
    lines.push(`cafile=${IN_BUILD}`);
    mounts.push('--volume', `${authorities}:${IN_BUILD}:ro`);
  }
  const file = join(engine.folder, 'npmrc');
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return [...mounts, '--volume', `${file}:/root/.npmrc:ro`];
}

const IN_BUILD = '/run/registry.pem';
