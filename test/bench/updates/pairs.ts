/** What an update costs on the wire, by what changed and how the change is sent. Pairs are made by models/recipes/update_pairs.py. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DELTA_KINDS } from '../../../shared/contract/deltas.ts';
import { type BenchReport, type Verdict, workFolder } from '../harness.ts';
import { runJob } from './job.ts';

/** Of the full file, by the change, as issue 21 asks. */
const AIMS: readonly { readonly kind: RegExp; readonly file: RegExp; readonly share: number }[] = [
  { kind: /^last-layer$/, file: /./, share: 0.02 },
  { kind: /^all-weights/, file: /^float/, share: 0.6 },
  { kind: /^all-weights/, file: /^int8/, share: 0.1 },
];

export async function pairs(folder: string): Promise<BenchReport> {
  const work = await workFolder();
  try {
    const rows: string[][] = [
      [
        'change',
        'file',
        'full file',
        'chunks',
        'zstd, old file as dictionary',
        'bsdiff',
        'ours',
        'encode',
        'decode',
        'memory',
      ],
    ];
    const verdicts: Verdict[] = [];
    for (const kind of (await readdir(folder)).filter((name) => name !== 'base').sort())
      for (const name of (await readdir(join(folder, kind))).sort()) {
        console.error(`pairs: ${kind}, ${name}`);
        const [base, result] = [join(folder, 'base', name), join(folder, kind, name)];
        const { row, share } = await compare(base, result, work.path);
        rows.push([kind, name.replace('.onnx', ''), ...row]);
        for (const aim of AIMS)
          if (aim.kind.test(kind) && aim.file.test(name))
            verdicts.push({
              requirement: `${kind}, ${name}: at most ${aim.share * 100} % of the full file`,
              measured: percent(share),
              holds: share <= aim.share,
            });
      }
    return {
      name: 'update-pairs',
      about:
        'The network of cifar10-cnn, trained, and changed as models change: its last layer fine-tuned, all weights fine-tuned (at rates of 1e-3 and 1e-4), trained on with twice the pictures. _Chunks_ are those of 16 KB on average, cut by content, that the old file does not have. Shares are of the full file; memory is the most that the program held.',
      tables: [{ title: 'Bytes on the wire', lines: [], grid: rows, verdicts }],
    };
  } finally {
    await work.remove();
  }
}

async function compare(
  base: string,
  result: string,
  work: string,
): Promise<{ readonly row: string[]; readonly share: number }> {
  const { size } = await stat(result);
  const [delta, out] = [join(work, 'delta'), join(work, 'out')];
  const file = (path: string) => ({ path, graphs: [path] });
  const encoded = await runJob({
    kind: 'encode',
    ...{ base: file(base), result: file(result), out: delta },
    maxBytes: 10 * size,
    kinds: [...DELTA_KINDS],
  });
  const decoded = await runJob({ kind: 'decode', base, delta, out, resultBytes: size });
  if (!(await readFile(out)).equals(await readFile(result))) throw new Error(`${result} is not the same`);
  const share = (await stat(delta)).size / size;
  const of = (bytes: number | undefined): string =>
    bytes === undefined ? 'not here' : percent(bytes / size);
  return {
    share,
    row: [
      `${size} bytes`,
      of(newChunkBytes(await readFile(base), await readFile(result))),
      of(await zstdBytes(base, result, join(work, 'zstd'))),
      of(await bsdiffBytes(base, result, join(work, 'bsdiff'))),
      percent(share),
      `${encoded.seconds.toFixed(2)} s`,
      `${decoded.seconds.toFixed(2)} s`,
      `${Math.max(encoded.peakMb, decoded.peakMb).toFixed(0)} MB`,
    ],
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`;

/** Content-defined chunks (gear hash, 4 to 64 KB, 16 KB on average) of the result that the base does not have. */
function newChunkBytes(base: Buffer, result: Buffer): number {
  const there = new Set(chunks(base).map(digestOf));
  return chunks(result)
    .filter((chunk) => !there.has(digestOf(chunk)))
    .reduce((sum, { length }) => sum + length, 0);
}
const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('base64');

function chunks(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let [start, hash] = [0, 0];
  for (let at = 0; at < bytes.length; at++) {
    hash = ((hash << 1) + Math.imul((bytes[at] ?? 0) + 1, 0x9e3779b1)) | 0;
    const length = at + 1 - start;
    if ((length >= 4_096 && hash >>> 18 === 0) || length === 65_536) {
      found.push(bytes.subarray(start, at + 1));
      [start, hash] = [at + 1, 0];
    }
  }
  return [...found, bytes.subarray(start)];
}

async function zstdBytes(base: string, result: string, to: string): Promise<number | undefined> {
  const { status } = spawnSync('zstd', [
    '-q',
    '-f',
    '-19',
    '--long=27',
    `--patch-from=${base}`,
    result,
    '-o',
    to,
  ]);
  return status === 0 ? (await stat(to)).size : undefined;
}

async function bsdiffBytes(base: string, result: string, to: string): Promise<number | undefined> {
  try {
    execFileSync('bsdiff', [base, result, to], { stdio: 'ignore' });
    return (await stat(to)).size;
  } catch {
    return undefined;
  }
}
