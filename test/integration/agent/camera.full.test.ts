/** A real ffmpeg: masks by their pixels, the part that is looked at, another size of the stream, pictures over HTTP that are masked. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Frame } from '../../../agent/camera/camera.ts';
import { createSource, type WantedOutput } from '../../../agent/camera/source.ts';
import { readAddress } from '../../../shared/camera/address.ts';
import { type Ppm, readPpm } from '../../../shared/inference/runner/ppm.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { temporaryFolder } from '../../support/fixed.ts';

const WHITE: WantedOutput = {
  ...{
    fps: 10,
    box: { widthPx: 1_280, heightPx: 1_280, fit: 'inside' },
    region: undefined,
    masks: [],
    codec: 'ppm',
  },
  isAsItComes: false,
};

async function firstFrame(url: string, output: WantedOutput): Promise<Frame> {
  const stop = new AbortController();
  let first: Frame | undefined;
  const outputs = new Map([['o', output]]);
  const source = createSource({
    ...{ address: () => Promise.resolve(readAddress(url, '/')), transport: 'tcp', repeat: true },
    trust: () => Promise.resolve({ ca: undefined, insecure: false }),
    ...{ hwaccel: 'none', keyframes: false, outputs: () => outputs, clock: systemClock },
  });
  await source(
    {
      give: (_name, frame) => {
        first ??= frame;
        stop.abort();
      },
      refuse: () => undefined,
    },
    stop.signal,
  );
  return first ?? assert.fail('no picture came');
}

/** RGB at a share of width and height. */
function at({ body }: Frame, x: number, y: number): number[] {
  const { size, pixelsAt } = readPpm(body) as Ppm;
  const [column, row] = [Math.floor(x * size.widthPx), Math.floor(y * size.heightPx)];
  const from = pixelsAt + (row * size.widthPx + column) * 3;
  return [...body.subarray(from, from + 3)];
}

async function film(t: TestContext, filter: string, name: string): Promise<string> {
  const path = join(await temporaryFolder(t), name);
  execFileSync('ffmpeg', [
    '-v',
    'error',
    '-f',
    'lavfi',
    '-i',
    filter,
    '-frames:v',
    '20',
    '-pix_fmt',
    'yuvj420p',
    path,
  ]);
  return path;
}

const TRIANGLE = [
  [0.1, 0.1],
  [0.9, 0.1],
  [0.5, 0.9],
] as const;

test('a black mask leaves nothing of what is under it, to the pixel, and all that is beside it', async (t) => {
  const path = await film(t, 'color=white:size=320x180:rate=10', 'white.mp4');
  const frame = await firstFrame(path, { ...WHITE, masks: [{ polygon: TRIANGLE, fill: 'black' }] });
  for (const [x, y] of [
    [0.5, 0.5],
    [0.13, 0.11],
    [0.87, 0.11],
    [0.5, 0.88],
  ] as const)
    assert.deepEqual(at(frame, x, y), [0, 0, 0], `${x},${y}`);
  for (const [x, y] of [
    [0.05, 0.05],
    [0.2, 0.8],
    [0.8, 0.8],
    [0.5, 0.97],
  ] as const)
    assert.ok(Math.min(...at(frame, x, y)) > 240, `${x},${y}`);
});

test('a blurred mask shows no stripe of what is under it', async (t) => {
  const path = await film(
    t,
    "color=white:size=320x180:rate=10,geq=lum='255*mod(floor(X/4),2)':cb=128:cr=128",
    'stripes.mp4',
  );
  const masks = [
    {
      polygon: [
        [0, 0],
        [0.5, 0],
        [0.5, 1],
        [0, 1],
      ],
      fill: 'blur' as const,
    },
  ] as const;
  const frame = await firstFrame(path, { ...WHITE, masks });
  const greys = (from: number): number[] =>
    Array.from({ length: 30 }, (_, index) => at(frame, from + index * 0.01, 0.5)[0] ?? 0);
  const spread = (values: readonly number[]): number => Math.max(...values) - Math.min(...values);
  assert.ok(spread(greys(0.1)) < 60, `${greys(0.1)}`);
  assert.ok(spread(greys(0.6)) > 150, `${greys(0.6)}`);
});

test('a region is cut out before it is brought to size, and a mask stays where it was', async (t) => {
  const path = await film(t, 'color=white:size=320x180:rate=10', 'white.mp4');
  const masks = [
    {
      polygon: [
        [0.5, 0],
        [1, 0],
        [1, 1],
        [0.5, 1],
      ],
      fill: 'black' as const,
    },
  ] as const;
  const frame = await firstFrame(path, {
    ...WHITE,
    region: [0.25, 0, 0.75, 1],
    masks,
    box: { widthPx: 80, heightPx: 80, fit: 'inside' },
  });
  assert.deepEqual(readPpm(frame.body)?.size, { widthPx: 71, heightPx: 80 });
  assert.ok(Math.min(...at(frame, 0.45, 0.5)) > 240);
  assert.deepEqual(at(frame, 0.55, 0.5), [0, 0, 0]);
});

test('pictures over HTTP are masked, too, and a pipeline without a runner gets JPEGs', async (t) => {
  const path = await film(t, 'color=white:size=320x180:rate=10', 'white-%d.jpg').then((pattern) =>
    pattern.replace('%d', '1'),
  );
  const jpeg = readFileSync(path);
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'image/jpeg').end(jpeg);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const masks = [{ polygon: TRIANGLE, fill: 'black' as const }];
  const frame = await firstFrame(`http://127.0.0.1:${port}/snapshot.jpg`, { ...WHITE, masks });
  assert.deepEqual(at(frame, 0.5, 0.5), [0, 0, 0]);
  const encoded = await firstFrame(`http://127.0.0.1:${port}/snapshot.jpg`, {
    ...WHITE,
    masks,
    codec: 'mjpeg',
  });
  assert.deepEqual(
    [encoded.contentType, encoded.body.subarray(0, 2).toString('hex')],
    ['image/jpeg', 'ffd8'],
  );
});
