import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ffmpegArguments, filtersOf, type Output } from '../../../../agent/camera/ffmpeg-arguments.ts';
import { boxesOf, type Point } from '../../../../agent/camera/mask-boxes.ts';

const output: Output = {
  fps: 2,
  box: { widthPx: 640, heightPx: 360, fit: 'inside' },
  region: undefined,
  masks: [],
  codec: 'ppm',
};
const input = { args: ['-i', 'pipe:0'], script: 'x' };
const decoding = { hwaccel: 'none', keyframes: false, release: [5, 1] as const };

test('each wish is an output on a pipe of its own, of one decoder', () => {
  const args = ffmpegArguments(input, [output, { ...output, codec: 'mjpeg' }], decoding);
  assert.deepEqual(
    args.filter((one) => one.startsWith('pipe:')),
    ['pipe:0', 'pipe:3', 'pipe:4'],
  );
  assert.equal(args.filter((one) => one === '-i').length, 1);
  assert.ok(args.includes('-fps_mode') && !args.includes('-vsync'));
  assert.match(args.join(' '), /-c:v ppm -pix_fmt rgb24/);
  assert.ok(ffmpegArguments(input, [output], { ...decoding, release: [4, 4] }).includes('-vsync'));
});

test('what a model needs is covered, and nothing is enlarged', () => {
  const covering = { ...output, box: { widthPx: 256, heightPx: 256, fit: 'cover' as const } };
  assert.match(
    filtersOf(covering),
    /scale=w='min\(iw,256\)':h='min\(ih,256\)':force_original_aspect_ratio=increase/,
  );
  assert.match(filtersOf(output), /force_original_aspect_ratio=decrease/);
});

test('hardware and key frames are asked for before the input', () => {
  const before = (hwaccel: string, keyframes: boolean): string =>
    ffmpegArguments(input, [output], { ...decoding, hwaccel, keyframes })
      .join(' ')
      .split(' -i ')[0] ?? '';
  assert.match(before('vaapi', false), /-hwaccel vaapi/);
  assert.match(before('v4l2m2m', false), /-c:v h264_v4l2m2m/);
  assert.match(before('none', true), /-skip_frame nokey/);
  assert.doesNotMatch(before('none', false), /hwaccel|skip_frame/);
});

test('a rectangle is one box, exactly; what lies outside of the region is none', () => {
  const polygon: Point[] = [
    [0.1, 0.2],
    [0.5, 0.2],
    [0.5, 0.7],
    [0.1, 0.7],
  ];
  assert.deepEqual(boxesOf([polygon]), [[0.1, 0.2, 0.5, 0.7]]);
  const masks = [{ polygon, fill: 'black' as const }];
  assert.doesNotMatch(filtersOf({ ...output, region: [0.6, 0, 1, 1], masks }), /drawbox/);
  assert.match(
    filtersOf({ ...output, region: [0.1, 0.2, 0.5, 0.7], masks }),
    /drawbox=x='floor\(iw\*0\.000000\)'.*w='max\(1,ceil\(iw\*1\.000000\)/,
  );
});

const polygons = fc.array(
  fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
  {
    minLength: 3,
    maxLength: 9,
  },
);

test('every point of a polygon is covered, whatever its form', () => {
  const isInside = (polygon: readonly Point[], [x, y]: Point): boolean => {
    let inside = false;
    for (const [index, [x0, y0]] of polygon.entries()) {
      const [x1, y1] = polygon[(index + 1) % polygon.length] as Point;
      if (y0 > y !== y1 > y && x < x0 + ((x1 - x0) * (y - y0)) / (y1 - y0)) inside = !inside;
    }
    return inside;
  };
  const convex = (points: readonly Point[]): Point[] => {
    const center: Point = [
      points.reduce((sum, [x]) => sum + x, 0) / points.length,
      points.reduce((sum, [, y]) => sum + y, 0) / points.length,
    ];
    // Around its middle it does not cross itself.
    return [...points].sort(
      (one, other) =>
        Math.atan2(one[1] - center[1], one[0] - center[0]) -
        Math.atan2(other[1] - center[1], other[0] - center[0]),
    );
  };
  fc.assert(
    fc.property(polygons, (points) => {
      const polygon = convex(points);
      const boxes = boxesOf([polygon]);
      for (let row = 0; row < 20; row++)
        for (let column = 0; column < 20; column++) {
          const [x, y]: Point = [(column + 0.5) / 20, (row + 0.5) / 20];
          const isCovered = boxes.some(
            ([l, t, r, b]) => x >= l - 1e-9 && x <= r + 1e-9 && y >= t - 1e-9 && y <= b + 1e-9,
          );
          assert.ok(isCovered || !isInside(polygon, [x, y]), `${x},${y}`);
        }
    }),
  );
});

test('masks of any number stay within what a command line takes', () => {
  const triangle: Point[] = [
    [0, 0],
    [1, 0.3],
    [0.4, 1],
  ];
  const masks = Array.from({ length: 32 }, (_, at) => ({
    polygon: triangle,
    fill: at % 2 ? ('blur' as const) : ('black' as const),
  }));
  assert.ok(filtersOf({ ...output, masks }).length < 100_000, String(filtersOf({ ...output, masks }).length));
});
