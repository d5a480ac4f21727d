/** Libraries out of a wheel, which is a zip: the members that its line of the table names, each bounded by what the zip says of it. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Entry, openPromise } from 'yauzl';
import type { GpuManifest } from '../../shared/inference/providers/gpu-libraries.ts';
import { AppError, isDiskFull } from '../../shared/runtime/errors.ts';
import type { Wheel } from './wheels.ts';

type Unpacked = GpuManifest['files'][number];

/**
 * @param path of the wheel, whose digest was checked
 * @returns what lies in the folder now, the licence's text too
 * @throws LIBRARY_INVALID (no zip, or none of its libraries), DISK_FULL
 */
export async function unpackWheel(wheel: Wheel, path: string, folder: string): Promise<Unpacked[]> {
  try {
    const unpacked: Unpacked[] = [];
    const zip = await openPromise(path);
    for await (const entry of zip.eachEntry()) {
      const name = targetOf(wheel, entry);
      if (name !== undefined)
        unpacked.push(await write(await zip.openReadStreamPromise(entry), join(folder, name)));
    }
    if (unpacked.length < 2)
      throw new AppError('LIBRARY_INVALID', `${wheel.file} does not have the libraries that it should`);
    return unpacked;
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (isDiskFull(error))
      throw new AppError('DISK_FULL', `no space to unpack ${wheel.file}`, { cause: error });
    throw new AppError('LIBRARY_INVALID', `${wheel.file} cannot be unpacked`, { cause: error });
  }
}

function targetOf({ libraries, licenseFile, name }: Wheel, { fileName }: Entry): string | undefined {
  if (libraries.test(fileName)) return basename(fileName);
  return licenseFile.test(fileName) ? `LICENSE-${name}.txt` : undefined;
}

async function write(from: NodeJS.ReadableStream, to: string): Promise<Unpacked> {
  const hash = createHash('sha256');
  let bytes = 0;
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  await pipeline(from, count, createWriteStream(to, { mode: 0o644, flush: true }));
  return { name: basename(to), bytes, sha256: hash.digest('hex') };
}
