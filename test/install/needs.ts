/** What the tests of the installation need of this machine. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What -> why. */
export const NEEDS = {
  root: 'a container has users and mounts of its own',
  debootstrap: 'the Debian package debootstrap: a clean Debian',
  'systemd-nspawn': 'the Debian package systemd-container: starts it with a systemd of its own',
  nsenter: 'the Debian package util-linux: runs commands in it',
  'systemd-analyze': 'the Debian package systemd: looks at the unit',
  shellcheck: 'the Debian package shellcheck: reads the install script',
} as const;

/** @returns those that are missing */
export function missingTools(): string[] {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return Object.keys(NEEDS).filter((need) =>
    need === 'root' ? process.getuid?.() !== 0 : !folders.some((folder) => existsSync(join(folder, need))),
  );
}
