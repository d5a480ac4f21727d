/**
 * buildah and podman with a store of their own, so that nothing is left on the machine and nothing that is there is touched.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCommand } from './needs.ts';

/**
 * Limits below what any machine grants: podman's own are above what some do. Health checks are run by the test, since podman runs
 * them by systemd, which is not everywhere.
 */
const BARE = ['--ulimit', 'nofile=4096:4096', '--ulimit', 'nproc=1000:1000', '--no-healthcheck'];

export class Engine {
  readonly folder = mkdtempSync(join(tmpdir(), 'outrider-images-'));
  readonly #store = ['--root', join(this.folder, 'store'), '--runroot', join(this.folder, 'run')];
  // crun cannot run on a machine with both versions of cgroups.
  readonly #runtime = hasCommand('runc') ? ['--runtime', 'runc'] : [];

  /** @returns what it printed, both streams @throws when it fails */
  podman(...args: string[]): string {
    const ended = this.tryPodman(...args);
    assert.equal(ended.code, 0, `podman ${args.join(' ')}: ${ended.output}`);
    return ended.output;
  }

  tryPodman(...args: string[]): { readonly code: number | null; readonly output: string } {
    const networks = ['--network-config-dir', join(this.folder, 'networks')];
    const { status, stdout, stderr } = spawnSync(
      'podman',
      [...this.#store, ...this.#runtime, ...networks, '--log-level', 'error', ...args],
      { encoding: 'utf8' },
    );
    return { code: status, output: `${stdout}${stderr}`.trim() };
  }

  /** Starts a container in the background. @param wanted as `podman run` has it */
  start(name: string, wanted: readonly string[]): void {
    this.podman('run', '--detach', '--name', name, ...BARE, ...wanted);
  }

  /** Runs one to its end. @returns what it printed */
  runOnce(...wanted: string[]): string {
    return this.podman('run', '--rm', ...BARE, ...wanted);
  }

  /** @returns the folder in which the image's files are */
  mount(image: string): string {
    return this.podman('image', 'mount', image);
  }

  /** Builds in the working directory. What it says goes to this test's output. */
  async build(...args: string[]): Promise<void> {
    const how = [
      '--isolation',
      'chroot',
      '--network',
      'host',
      '--pull-never',
      '--format',
      'docker',
      '--layers',
    ];
    const child = spawn('buildah', [...this.#store, 'bud', ...how, ...args, '.'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(code, 0, said.slice(-4_000));
  }

  sizeBytes(image: string): number {
    return Number(this.podman('image', 'inspect', '--format', '{{.Size}}', image));
  }

  dispose(): void {
    this.tryPodman('rm', '--force', '--all', '--time', '1');
    this.tryPodman('network', 'prune', '--force');
    for (const mount of mountsBelow(this.folder)) spawnSync('umount', ['--lazy', mount]);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Innermost first. */
function mountsBelow(folder: string): string[] {
  const points = execFileSync('cat', ['/proc/mounts'], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  return points.filter((point) => point.startsWith(`${folder}/`)).sort((a, b) => b.length - a.length);
}
