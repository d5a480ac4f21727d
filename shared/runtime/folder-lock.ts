/**
 * One program per data folder. The lock is a listening local socket named after the folder, not a file:
 * the kernel drops it with the process, so a SIGKILL leaves nothing to clean up.
 */
import { chmod, realpath, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, systemCode } from './errors.ts';
import { sha256Hex } from './ids.ts';
import { makeFolder } from './make-folder.ts';

/** Abstract sockets (Linux) and pipes (Windows) vanish with their process; elsewhere it is a file, probed before it is removed. */
function lockName(folder: string): { name: string; isFile: boolean } {
  const key = `outrider-${sha256Hex(folder).slice(0, 32)}`;
  if (process.platform === 'linux') return { name: `\0${key}`, isFile: false };
  if (process.platform === 'win32') return { name: `\\\\.\\pipe\\${key}`, isFile: false };
  return { name: join(tmpdir(), `${key}.lock`), isFile: true };
}

/** Lock on a data folder that this process holds. */
export interface FolderLock {
  unlock(): Promise<void>;
}

/**
 * Takes the folder (created when missing) for this process.
 *
 * @throws DATA_LOCKED when another process holds it
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  await makeFolder(folder);
  // One that an earlier version has made may be open to other accounts. Not everybody may change that.
  await chmod(folder, 0o700).catch(() => undefined);
  const { name, isFile } = lockName(await realpath(folder));
  let server = await listen(name);
  if (server === undefined && isFile && !(await answers(name))) {
    await rm(name, { force: true });
    server = await listen(name);
  }
  if (server === undefined) {
    throw new AppError(
      'DATA_LOCKED',
      `the data folder ${folder} is in use by another Outrider program; end it, or choose another with --data`,
    );
  }
  const held = server;
  return { unlock: () => new Promise((resolve) => held.close(() => resolve())) };
}

function listen(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) =>
      systemCode(error) === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen(name, () => {
      server.unref();
      resolve(server);
    });
  });
}

function answers(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(name, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
