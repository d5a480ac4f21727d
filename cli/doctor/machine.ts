/** What the doctor looks at on this machine itself: versions, clock, disk, ports. */
import { access, open, rm, stat, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { findFfmpeg } from '../../shared/camera/ffmpeg-program.ts';
import { openHardware } from '../../shared/camera/hardware.ts';
import { findCandidates } from '../../shared/inference/providers/candidates.ts';
import { readJson } from '../../shared/runtime/atomic-file.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { ROOT } from '../../shared/runtime/installation.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import { bytesText } from '../output.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const manifest = z.object({ version: z.string(), engines: z.object({ node: z.string() }).optional() });

/** Versions of what runs here. */
export async function checkVersions(): Promise<Finding[]> {
  const [own, runtime] = await Promise.all(
    ['package.json', 'node_modules/onnxruntime-node/package.json'].map((path) =>
      readJson(new URL(path, ROOT).pathname, manifest).catch(() => undefined),
    ),
  );
  const needed = /\d+(\.\d+)*/.exec(own?.engines?.node ?? '')?.[0] ?? '0';
  const node = process.versions.node;
  return [
    ok('outrider', VERSION),
    isAtLeast(node, needed)
      ? ok('node', node)
      : fail('node', `${node} is older than ${needed}`, `Install Node.js ${needed} or newer.`),
    runtime
      ? ok('onnxruntime', runtime.version)
      : fail('onnxruntime', 'it is not installed', 'Run npm ci --omit=dev in the release folder.'),
  ];
}

function isAtLeast(version: string, needed: string): boolean {
  const [have, want] = [version, needed].map((text) => text.split('.').map(Number));
  for (const [index, number] of (want ?? []).entries()) {
    const difference = (have?.[index] ?? 0) - number;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** What reads cameras, and nothing else needs: its state without it is for the feeds to tell. */
export async function checkFfmpeg(): Promise<Finding> {
  const found = await findFfmpeg().catch(() => undefined);
  if (!found) return ok('ffmpeg', 'not installed; cameras need it (apt-get install ffmpeg)');
  const hardware = await openHardware(found.path);
  const decoders =
    hardware.length > 0 ? `hwaccel may be ${hardware.join(', ')}` : 'hwaccel: auto decodes by software';
  return ok('ffmpeg', `${found.version}; ${decoders}`);
}

/** Whether models of a hub here could run on a GPU; `outrider gpu` tries them. */
export async function checkGpu(dataDir: string): Promise<Finding> {
  const { driver, list, hint } = await findCandidates(dataDir);
  if (hint !== undefined)
    return warn('gpu', hint, 'Run outrider gpu install; a hub uses them from its next start on.');
  const names = driver?.gpus.map(({ name }) => name) ?? [];
  const providers = list.map(({ provider }) => provider).join(', ');
  return list.length === 0
    ? ok('gpu', 'none: models run on the processor')
    : ok('gpu', `${[...names, `models may run on ${providers}`].join('; ')}`);
}

/** A clock that is behind this release makes every certificate and signature "not yet valid". */
export async function checkClock(nowAtMs: number): Promise<Finding> {
  const { mtimeMs } = await stat(new URL('package.json', ROOT));
  const now = new Date(nowAtMs).toISOString();
  return nowAtMs < mtimeMs
    ? fail('clock', `${now} is before this release was installed`, 'Set the clock, or let NTP do it.')
    : ok('clock', now);
}

const MIN_FREE = { failBytes: 100e6, warnBytes: 1e9 };
/** An accepted request waits for this: an SD card that takes longer slows every escalation. */
const SLOW_FSYNC_MS = 100;

/** Room, rights and speed of the data folder. @param isOurs whether this user is the one that writes there */
export async function checkDisk(data: string, isOurs = true): Promise<Finding[]> {
  const isThere = await access(data).then(
    () => true,
    () => false,
  );
  if (!isThere) return [ok('data folder', `${data} is not there yet: nothing has run with it`)];
  return [await checkRoom(data), ...(isOurs ? [await checkWriting(data)] : [])];
}

async function checkRoom(data: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(data);
  const freeBytes = bavail * bsize;
  const found = `${bytesText(freeBytes)} free`;
  const todo = 'Free some space, or give Outrider another folder with --data.';
  if (freeBytes < MIN_FREE.failBytes) return fail('disk room', found, todo);
  return freeBytes < MIN_FREE.warnBytes ? warn('disk room', found, todo) : ok('disk room', found);
}

async function checkWriting(data: string): Promise<Finding> {
  const path = join(data, `.doctor-${newId()}`);
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write(Buffer.alloc(4_096));
      const startMonoMs = performance.now();
      await file.sync();
      const ms = performance.now() - startMonoMs;
      const found = `a write is safe on disk after ${ms.toFixed(1)} ms`;
      return ms > SLOW_FSYNC_MS
        ? warn('disk writes', found, 'Every escalation waits for this: use a faster disk or card.')
        : ok('disk writes', found);
    } finally {
      await file.close();
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return fail('disk writes', `${data} cannot be written: ${why}`, 'Check the owner and the rights of it.');
  } finally {
    await rm(path, { force: true });
  }
}

/** A port that one of our programs wants. */
export interface WantedPort {
  readonly port: number;
  readonly wantedBy: string;
  readonly flag: string;
  /** Whether the program itself has answered there; `unclear`: something has, and it cannot be told what. */
  readonly isOurs: boolean | 'unclear';
}

/** Port check: free, held by the program that wants it, or taken by a stranger. */
export async function checkPort({ port, wantedBy, flag, isOurs }: WantedPort): Promise<Finding> {
  const about = `port ${port}`;
  if (isOurs === true) return ok(about, `the ${wantedBy} answers there`);
  if (await isFree(port)) return ok(about, `free for the ${wantedBy}`);
  return isOurs === 'unclear'
    ? warn(about, `taken, and whether by the ${wantedBy} cannot be told`, 'See what is said of the hub.')
    : warn(
        about,
        `taken by something that is not the ${wantedBy}`,
        `End it, or choose another with ${flag}.`,
      );
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
