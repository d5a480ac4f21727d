/** Time and memory of a large file: weights beside a graph, drawn as those of a Transformer are spread, every one of them moved a little. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DELTA_KINDS } from '../../../shared/contract/deltas.ts';
import { fileSha256 } from '../../../shared/runtime/file-digest.ts';
import { onnxFile } from '../../support/onnx-file.ts';
import { type BenchReport, workFolder } from '../harness.ts';
import { runJob } from './job.ts';

const MB = 400;
const MAX_PEAK_MB = 150;
/** Numbers of one layer. */
const LAYER = 2_000_000;

export async function large(): Promise<BenchReport> {
  const work = await workFolder();
  try {
    const names = { base: await write(work.path, 'base', 0), result: await write(work.path, 'result', 1e-4) };
    const file = (name: string) => ({
      path: join(work.path, `${name}.data`),
      graphs: [join(work.path, `${name}.onnx`)],
    });
    const [delta, out] = [join(work.path, 'delta'), join(work.path, 'out')];
    const { size } = await stat(names.result);
    const encoded = await runJob({
      kind: 'encode',
      ...{ base: file('base'), result: file('result'), out: delta },
      maxBytes: size,
      kinds: [...DELTA_KINDS],
    });
    const decoded = await runJob({ kind: 'decode', base: names.base, delta, out, resultBytes: size });
    if ((await fileSha256(out)) !== (await fileSha256(names.result))) throw new Error('not the same');
    const share = (await stat(delta)).size / size;
    const peakMb = Math.max(encoded.peakMb, decoded.peakMb);
    return {
      name: 'update-large',
      about: `A made-up file of ${MB} MB of float32 weights beside its graph; every weight has moved by about 1e-4.`,
      tables: [
        {
          title: `${MB} MB`,
          lines: [],
          grid: [
            ['', 'seconds', 'MB of memory at most'],
            ['encode', encoded.seconds.toFixed(1), encoded.peakMb.toFixed(0)],
            ['decode', decoded.seconds.toFixed(1), decoded.peakMb.toFixed(0)],
          ],
          facts: [
            { name: 'bytes of the difference, per cent of the full file', value: 100 * share, unit: '' },
          ],
          verdicts: [
            {
              requirement: `At most ${MAX_PEAK_MB} MB of memory for a file of ${MB} MB`,
              measured: `${peakMb.toFixed(0)} MB`,
              holds: peakMb <= MAX_PEAK_MB,
            },
          ],
        },
      ],
    };
  } finally {
    await work.remove();
  }
}

/** @returns the file of weights */
async function write(folder: string, name: string, moved: number): Promise<string> {
  const layers = Math.floor((MB * 1e6) / (4 * LAYER));
  const path = join(folder, `${name}.data`);
  const initializers = Array.from({ length: layers }, (_, index) => ({
    name: `layer ${index}`,
    dims: [LAYER],
    location: `${name}.data`,
    place: { offset: index * LAYER * 4, length: LAYER * 4 },
  }));
  await writeFile(join(folder, `${name}.onnx`), onnxFile({ initializers }));
  const stream = createWriteStream(path);
  // The same seed gives the same weights; the noise has a state of its own.
  const [weight, noise] = [normal(1), normal(2)];
  for (let layer = 0; layer < layers; layer++) {
    const spread = 0.02 * (1 + (layer % 5) / 2);
    const numbers = Float32Array.from(
      { length: LAYER },
      () => weight() * spread + (moved > 0 ? noise() * moved : 0),
    );
    if (!stream.write(Buffer.from(numbers.buffer))) await once(stream, 'drain');
  }
  stream.end();
  await once(stream, 'close');
  return path;
}

/** Of mean 0 and deviation 1 (Box and Muller 1958). */
function normal(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return (state + 1) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
