/** Pictures as a field spoils them, and the data that a turn of the circle needs. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { unzip } from 'fflate';
import sharp from 'sharp';
import { seededRandom } from '../../../shared/runtime/random.ts';
import { type Example, readExamples } from '../../../tools/measure/examples.ts';

/** What has become of a picture. */
export const KINDS = ['clean', 'blur', 'noise', 'dark'] as const;
export type Kind = (typeof KINDS)[number];

/** A picture of the field, and what it shows. */
export interface Seen extends Example {
  readonly kind: Kind;
}

const BLUR_SIGMA = 0.9;
const NOISE_OF_255 = 18;
const DARKNESS = 0.35;
const HELD_OUT = fileURLToPath(new URL('../../../models/recipes/held-out/cifar10.txt', import.meta.url));

/** A part of CIFAR-10, a quarter of it each clean, blurred, noisy and dark; drawn by lot, the same each time. */
export async function fieldPictures(
  part: 'held-out' | 'reported',
  data: string,
  count: number,
): Promise<Seen[]> {
  const all = await readExamples('cifar10', part, data);
  const place = ({ id }: Example): string => createHash('sha256').update(`circle/${id}`).digest('hex');
  const chosen = all.toSorted((a, b) => (place(a) < place(b) ? -1 : 1)).slice(0, count);
  return Promise.all(chosen.map((one, index) => spoilt(one, KINDS[index % KINDS.length] ?? 'clean', index)));
}

async function spoilt(example: Example, kind: Kind, seed: number): Promise<Seen> {
  const { data, info } = await sharp(example.input.body)
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const raw = { width: info.width, height: info.height, channels: 3 } as const;
  const random = seededRandom(seed);
  // Box and Muller, 1958.
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const change = (of: (value: number) => number): Buffer =>
    Buffer.from(data.map((value) => Math.max(0, Math.min(255, Math.round(of(value))))));
  const pixels =
    kind === 'noise'
      ? change((value) => value + NOISE_OF_255 * normal())
      : kind === 'dark'
        ? change((value) => value * DARKNESS)
        : data;
  const picture = sharp(pixels, { raw });
  const body = await (kind === 'blur' ? picture.blur(BLUR_SIGMA) : picture).png().toBuffer();
  return { ...example, kind, input: { contentType: 'image/png', body } };
}

/** Some of what the edge model was trained on at first, by folders of their labels: nothing of what is held out. */
export async function originalPictures(data: string, folder: string, count: number): Promise<void> {
  const heldOut = new Set((await readFile(HELD_OUT, 'utf8')).split(/\s+/));
  const lot = seededRandom(1);
  const share = (1.2 * count) / 45_000;
  const files = await promisify<
    Uint8Array,
    { filter: (file: { name: string }) => boolean },
    Record<string, Uint8Array>
  >(unzip)(await readFile(join(data, 'cifar10-train.zip')), {
    filter: ({ name }) =>
      name.endsWith('.jpg') && !heldOut.has(name.split('/').slice(-2).join('/')) && lot.chance(share),
  });
  for (const [name, body] of Object.entries(files).slice(0, count)) {
    const path = join(folder, ...name.split('/').slice(-2));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, body);
  }
}
