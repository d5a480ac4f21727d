import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Camera, type Frame, type RunSource } from '../../../../agent/camera/camera.ts';
import { CameraFeed, type CameraFeedOptions } from '../../../../agent/camera/camera-feed.ts';
import { MotionGate } from '../../../../agent/camera/motion.ts';
import type { FeedItem } from '../../../../agent/ports.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

/** A source that the test has in its hands: one entry for each time that it was started. */
function testSource() {
  type To = Parameters<RunSource>[0];
  const runs: { to: To; signal: AbortSignal; end: (error?: AppError) => void }[] = [];
  const source: RunSource = (to, signal) =>
    new Promise((resolve, reject) => {
      const end = (error?: AppError): void => (error ? reject(error) : resolve());
      runs.push({ to, signal, end });
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  return { source, runs };
}

const ppm = (fill: number): Buffer =>
  Buffer.concat([Buffer.from('P6\n64 36\n255\n'), Buffer.alloc(64 * 36 * 3, fill)]);
const frame = (fill: number): Frame => ({ body: ppm(fill), contentType: 'image/x-portable-pixmap' });

function setUp(options: Partial<CameraFeedOptions> & { readonly isReachable?: boolean } = {}) {
  const clock = new FakeClock();
  const { source, runs } = testSource();
  const camera =
    options.camera ??
    new Camera({
      ...{ shown: 'rtsp://10.0.0.7/a', source, stallAfterMs: 10_000, clock },
      isReachable: () => Promise.resolve(options.isReachable ?? true),
    });
  const dropped: string[] = [];
  const told: string[] = [];
  const taken: FeedItem[] = [];
  const stop = new AbortController();
  const feed = new CameraFeed({
    ...{
      name: 'gate',
      about: 'rtsp://10.0.0.7/a',
      output: 'o',
      motion: undefined,
      active: undefined,
      timeZone: 'UTC',
      once: false,
      isFile: false,
    },
    onDropped: (reason) => dropped.push(reason),
    ...options,
    ...{ camera, clock },
  });
  let release = (): void => undefined;
  let isBusy = false;
  const run = feed.run(
    async (item) => {
      taken.push(item);
      if (isBusy)
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      return undefined;
    },
    stop.signal,
    (state, reason) => told.push(reason ? `${state} ${reason.code}` : state),
  );
  return {
    ...{ clock, camera, runs, dropped, told, taken, run },
    fillOf: (at: number) => taken.at(at)?.input.body.at(-1),
    busy(): void {
      isBusy = true;
    },
    free(): void {
      isBusy = false;
      release();
    },
    async stop(): Promise<void> {
      stop.abort();
      await run;
    },
  };
}

test('the newest picture wins while the pipeline is busy, and what is passed over is counted', async () => {
  const feed = setUp();
  await settle();
  feed.busy();
  for (const fill of [1, 2, 3, 4]) {
    feed.runs[0]?.to.give('o', frame(fill));
    await settle();
  }
  assert.equal(feed.taken.length, 1);
  assert.deepEqual(feed.dropped, ['passed-over', 'passed-over']);
  feed.free();
  await settle();
  assert.deepEqual([feed.fillOf(0), feed.fillOf(1), feed.taken.length], [1, 4, 2]);
  assert.match(feed.taken[0]?.label ?? '', /^gate \d{4}-\d\d-\d\dT.*Z$/);
  await feed.stop();
  assert.ok(feed.runs[0]?.signal.aborted, 'nobody looks: nothing runs');
});

test('a camera that gives nothing is stalled, ended and begun again, and comes back by itself', async () => {
  const feed = setUp();
  await settle();
  feed.runs[0]?.to.give('o', frame(1));
  await settle();
  await feed.clock.advance(10_000);
  assert.deepEqual(feed.told, ['live', 'stalled CAMERA_STALLED']);
  assert.ok(feed.runs[0]?.signal.aborted);
  await feed.clock.advance(10_000);
  assert.equal(feed.runs.length, 2);
  feed.runs[1]?.to.give('o', frame(2));
  await settle();
  assert.deepEqual([feed.told.at(-1), feed.fillOf(-1)], ['live', 2]);
  await feed.stop();
});

test('a camera that gave nothing gets longer for its first picture, until it gives one', async () => {
  const feed = setUp();
  await settle();
  await feed.clock.advance(15_000);
  assert.ok(feed.runs[0]?.signal.aborted);
  await feed.clock.advance(10_000);
  await feed.clock.advance(19_000);
  assert.deepEqual([feed.runs.length, feed.runs[1]?.signal.aborted], [2, false]);
  feed.runs[1]?.to.give('o', frame(1));
  await settle();
  await feed.clock.advance(10_000);
  assert.ok(feed.runs[1]?.signal.aborted, 'the next ones come at their pace');
  await feed.clock.advance(10_000);
  await feed.clock.advance(15_000);
  assert.ok(feed.runs[2]?.signal.aborted, 'and the next run begins with 15 s');
  await feed.stop();
});

test('one that has gone from the network meanwhile is away, not stalled', async () => {
  const feed = setUp({ isReachable: false });
  await settle();
  const end = assert.rejects(feed.run, (error) => isAppError(error, 'CAMERA_UNREACHABLE'));
  await feed.clock.advance(15_000);
  await end;
});

test('pictures of too many pixels are counted, and are the reason where nothing else comes', async () => {
  const feed = setUp();
  await settle();
  feed.runs[0]?.to.refuse(new AppError('IMAGE_TOO_LARGE', 'over 64 megapixels'));
  await feed.clock.advance(15_000);
  assert.deepEqual(feed.dropped, ['IMAGE_TOO_LARGE']);
  assert.deepEqual(feed.told, ['stalled IMAGE_TOO_LARGE']);
  await feed.stop();
});

test('a failure is the feed’s, and a file’s end is its end', async () => {
  const failing = setUp();
  await settle();
  failing.runs[0]?.end(new AppError('CAMERA_REFUSED'));
  await assert.rejects(failing.run, (error) => isAppError(error, 'CAMERA_REFUSED'));
  const file = setUp({ isFile: true });
  await settle();
  file.runs[0]?.to.give('o', frame(1));
  file.runs[0]?.end();
  await file.run;
  assert.equal(file.taken.length, 1, 'what had come is taken first');
});

test('two pipelines share one source; each gets its own output, and the source stays while one of them looks', async () => {
  const one = setUp();
  const other = setUp({ camera: one.camera, output: 'p' });
  await settle();
  assert.equal(one.runs.length, 1);
  one.runs[0]?.to.give('o', frame(1));
  one.runs[0]?.to.give('p', frame(2));
  await settle();
  assert.deepEqual([one.fillOf(-1), other.fillOf(-1)], [1, 2]);
  await other.stop();
  assert.equal(one.runs[0]?.signal.aborted, false);
  await one.stop();
  assert.equal(one.runs[0]?.signal.aborted, true);
});

test('still pictures are passed over, one in a while is not and says so, and movement is seen at once', async () => {
  const clock = new FakeClock();
  const motion = new MotionGate({ threshold: 0.01, everyMs: 30_000, clock });
  const feed = setUp({ motion });
  await settle();
  const give = async (fill: number): Promise<void> => {
    feed.runs[0]?.to.give('o', frame(fill));
    await settle();
  };
  await give(10);
  await give(12);
  assert.deepEqual([feed.told, feed.taken.length, feed.dropped], [['live', 'still'], 1, ['still']]);
  await clock.advance(30_000);
  await give(11);
  assert.match(feed.taken.at(-1)?.label ?? '', / \(still\)$/);
  assert.equal(feed.told.at(-1), 'still');
  await give(200);
  assert.deepEqual([feed.told.at(-1), feed.taken.length], ['live', 3]);
  assert.doesNotMatch(feed.taken.at(-1)?.label ?? '', /still/);
  await feed.stop();
});

test('what moves slowly is seen, too, and a corner of the picture is enough', () => {
  const gate = new MotionGate({ threshold: 0.01, everyMs: undefined, clock: new FakeClock() });
  assert.deepEqual(
    [0, 10, 20].map((fill) => gate.look(ppm(fill))),
    ['moved', 'still', 'moved'],
  );
  const corner = ppm(20);
  for (let row = 0; row < 6; row++) corner.fill(255, 13 + row * 64 * 3, 13 + row * 64 * 3 + 8 * 3);
  assert.equal(gate.look(corner), 'moved');
});

test('outside of its hours nobody looks at it', async () => {
  const clock = new FakeClock();
  // The fake clock begins at 00:16 of 1970.
  const now = new Date(clock.nowAtMs()).toISOString().slice(11, 16);
  const feed = setUp({ active: '00:17-00:18' });
  await settle();
  assert.equal(now, '00:16');
  assert.deepEqual([feed.told, feed.runs.length], [['asleep'], 0]);
  await feed.clock.advance(25_000);
  assert.equal(feed.runs.length, 1);
  feed.runs[0]?.to.give('o', frame(1));
  await settle();
  await feed.clock.advance(9_000);
  for (let second = 0; second < 80; second++) {
    feed.runs[0]?.to.give('o', frame(1));
    await feed.clock.advance(1_000);
  }
  assert.equal(feed.runs[0]?.signal.aborted, true);
  assert.equal(feed.told.at(-1), 'asleep');
  await feed.stop();
});

test('with --once a live camera gives one picture', async () => {
  const feed = setUp({ once: true });
  await settle();
  feed.runs[0]?.to.give('o', frame(1));
  await feed.run;
  assert.equal(feed.taken.length, 1);
});
