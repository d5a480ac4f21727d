/** A release as `outrider release` makes it, of a few small files: what an installation does with one is the same for 200 MB. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** Packs one as `outrider release --out` does. @returns its digest */
export async function packRelease(
  folder: string,
  out: string,
  { version = '9.1.0', platform = `linux-${process.arch}` } = {},
): Promise<string> {
  const name = `outrider-${version}-${platform}`;
  const archive = join(out, `${name}.tar.gz`);
  await mkdir(out, { recursive: true });
  const renamed = `--transform=s,^\\.,${name},`;
  await promisify(execFile)('tar', [
    '-C',
    folder,
    '--format=ustar',
    '--sort=name',
    renamed,
    // As fast as it goes: a real one has 200 MB.
    '-I',
    'gzip -1',
    '-cf',
    archive,
    '.',
  ]);
  const sha256 = createHash('sha256')
    .update(await readFile(archive))
    .digest('hex');
  await writeFile(`${archive}.sha256`, `${sha256}  ${name}.tar.gz\n`);
  return sha256;
}

/** Makes it in a folder. @param say what tells two of one version apart */
export async function smallRelease(
  folder: string,
  {
    version = '9.1.0',
    platform = `linux-${process.arch}`,
    say = version,
    dataFormat,
    script = `#!/bin/sh\necho ${say}\n`,
    without = [],
    more = {},
  }: {
    readonly version?: string;
    readonly platform?: string;
    readonly say?: string;
    readonly dataFormat?: number;
    /** The command. */
    readonly script?: string;
    /** Files that it does not have. */
    readonly without?: readonly string[];
    /** Others that it has, by their path. */
    readonly more?: Readonly<Record<string, string | Uint8Array>>;
  } = {},
): Promise<string> {
  const unit = await readFile('deploy/systemd/outrider-agent.service', 'utf8');
  const spec = {
    ...{ schema: 1, name: 'cifar10-cnn', task: 'image-classification' },
    calibration: { cloud: { model: 'cifar10-vit' } },
  };
  const units: Record<string, string> = {};
  for (const name of ['outrider-update.path', 'outrider-update.service', 'outrider-update-boot.service'])
    units[`deploy/systemd/${name}`] = await readFile(`deploy/systemd/${name}`, 'utf8');
  const contents: Readonly<Record<string, string | Uint8Array>> = {
    ...units,
    'bin/outrider': script,
    'bin/outrider.mjs': `console.log(${JSON.stringify(say)});\n`,
    'deploy/systemd/outrider-agent.service': unit,
    'models/cifar10-cnn/outrider.json': JSON.stringify(spec),
    'package.json': JSON.stringify({ version }),
    ...more,
  };
  const files = [];
  for (const [path, content] of Object.entries(contents)) {
    if (without.includes(path)) continue;
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    files.push({ path, bytes: Buffer.from(content).length, sha256 });
  }
  await chmod(join(folder, 'bin/outrider'), 0o755);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const manifest = {
    name: 'outrider',
    version,
    platform,
    node: '24.0.0',
    models: ['cifar10-cnn'],
    ...(dataFormat !== undefined && { dataFormat }),
    bytes,
    files,
  };
  await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  return folder;
}
