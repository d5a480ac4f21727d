/** ffmpeg and ffprobe of this machine: where they are, and which. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AppError } from '../runtime/errors.ts';
import { findProgram } from '../runtime/find-program.ts';

/** A program of ffmpeg’s that was found. */
export interface FfmpegProgram {
  readonly path: string;
  /** As it says it: `5.1.6-0+deb12u1`; `unknown` where it says none. */
  readonly version: string;
  /** `[5, 1]`; undefined for builds that are not of a release. */
  readonly release: readonly [number, number] | undefined;
}

const VERSION_WITHIN_MS = 10_000;

/** @throws FFMPEG_MISSING */
export async function findFfmpeg(name: 'ffmpeg' | 'ffprobe' = 'ffmpeg'): Promise<FfmpegProgram> {
  const path = await findProgram(name);
  if (path === undefined)
    throw new AppError(
      'FFMPEG_MISSING',
      `${name} is not installed: nothing on the PATH has this name (apt-get install ffmpeg)`,
    );
  const said = await promisify(execFile)(path, ['-hide_banner', '-version'], {
    timeout: VERSION_WITHIN_MS,
  }).catch(() => undefined);
  const version = /version (\S+)/.exec(said?.stdout ?? '')?.[1] ?? 'unknown';
  const [, major, minor] = /^n?(\d+)\.(\d+)/.exec(version) ?? [];
  return { path, version, release: major === undefined ? undefined : [Number(major), Number(minor)] };
}

/** None of our own secrets: the program reads what strangers send. */
export const ffmpegEnv = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(OUTRIDER_|CREDENTIALS_DIRECTORY$|FFREPORT$)|TOKEN|SECRET|PASSW/i.test(name),
    ),
  );
