/** What building and running images takes on this machine. */
import { spawnSync } from 'node:child_process';

export const NEEDS = {
  root: 'namespaces and mounts',
  buildah: 'the Debian package of that name, which builds the Dockerfile',
  podman: 'the Debian packages podman, netavark and aardvark-dns, which run what compose.yaml says',
  debootstrap:
    'the Debian package of that name: makes the base image where no registry of images answers (or name one that is here by OUTRIDER_BASE_IMAGE)',
};

export function missingTools(): string[] {
  return Object.keys(NEEDS).filter((what) => {
    if (what === 'root') return process.getuid?.() !== 0;
    if (what === 'debootstrap' && process.env.OUTRIDER_BASE_IMAGE) return false;
    return !hasCommand(what);
  });
}

export const hasCommand = (name: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${name} || test -x /usr/sbin/${name}`]).status === 0;
