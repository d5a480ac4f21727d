/** `outrider release`: one archive for devices, made by a checkout's own tool; an installation has no sources to make one of. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../shared/runtime/errors.ts';
import { ROOT } from '../../shared/runtime/installation.ts';

/** Flags of `outrider release`. */
export interface ReleaseOptions {
  /** `linux-x64`, `linux-arm64`; that of this machine when left out. */
  readonly platform?: string;
  /** Of models that ship, with commas. */
  readonly models?: string;
  readonly withNode?: boolean;
  /** Where the archive goes; the working folder when left out. */
  readonly out?: string;
  readonly json?: boolean;
}

/** @throws USAGE (no checkout) */
export function release({ platform, models, withNode, out, json }: ReleaseOptions): void {
  const tool = new URL('tools/release.mjs', ROOT);
  if (!existsSync(tool))
    throw new AppError('USAGE', 'a release is made from a checkout of the sources, which this is not');
  const valued = Object.entries({ platform, models, out }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );
  const args = [...valued, ...(withNode ? ['--with-node'] : []), ...(json ? ['--json'] : [])];
  const { status } = spawnSync(process.execPath, [fileURLToPath(tool), ...args], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
