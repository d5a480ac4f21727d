import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskKeeper } from '../../../../agent/disk/keeper.ts';
import type { Room } from '../../../../agent/disk/room.ts';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { Pieces } from '../../../support/disks.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const MB = 1e6;
const GB = 1e9;

interface Setup {
  readonly maxBytes?: number;
  readonly keepFreeBytes?: number;
  readonly kept?: readonly Pieces[];
  readonly state?: number;
}

/** Paths that begin with /card are on another file system than the rest. */
function setUp({ maxBytes, keepFreeBytes, kept = [], state = 0 }: Setup) {
  const rooms: Record<'data' | 'card', { freeBytes: number; totalBytes: number }> = {
    data: { freeBytes: 100 * GB, totalBytes: 200 * GB },
    card: { freeBytes: 10 * GB, totalBytes: 20 * GB },
  };
  const idOf = (path: string): 'data' | 'card' => (path.startsWith('/card') ? 'card' : 'data');
  const requests = { bytes: 0 };
  const clock = new FakeClock();
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  let looks = 0;
  const keeper = new DiskKeeper({
    ...{ folder: '/data', maxBytes, keepFreeBytes, clock, logger, metrics },
    requestBytes: () => requests.bytes,
    stateBytes: async () => state,
    roomOf: async (path): Promise<Room> => {
      looks++;
      return { id: idOf(path), ...rooms[idOf(path)] };
    },
  });
  for (const one of kept) {
    one.onGone = (bytes) => {
      rooms[idOf(one.path)].freeBytes += bytes;
    };
    keeper.add(one);
  }
  return { keeper, rooms, requests, clock, logger, metrics, looks: () => looks };
}

const pieces = (kind: Pieces['kind'], path: string, count: number, bytes: number, atMs = 0): Pieces =>
  new Pieces(
    kind,
    path,
    Array.from({ length: count }, (_, index): [number, number] => [atMs + index, bytes]),
  );
const left = (all: readonly Pieces[]): number[] => all.map((one) => one.pieces.length);

test('over the quota the order is kept: snapshots, captures, logs, results, dead letters, webhooks; a little more than is over goes', async () => {
  const kinds = ['webhooks', 'dead-letters', 'results', 'logs', 'captures', 'snapshots'] as const;
  const kept = kinds.map((kind) => pieces(kind, `/data/${kind}`, 10, 10 * MB));
  const { keeper, requests, metrics } = setUp({ maxBytes: 700 * MB, kept, state: 50 * MB });
  await keeper.look();
  assert.deepEqual(left(kept), [10, 10, 10, 10, 10, 10], 'all fits');
  // Requests push the rest out, kind by kind.
  requests.bytes = 100 * MB;
  await keeper.look();
  assert.deepEqual(left(kept), [10, 10, 10, 10, 10, 1], '50 MB over, and a twentieth of 700 MB to spare');
  requests.bytes = 300 * MB;
  await keeper.look();
  assert.deepEqual(left(kept), [10, 10, 10, 1, 0, 0]);
  requests.bytes = 600 * MB;
  await keeper.look();
  assert.deepEqual(left(kept), [1, 0, 0, 0, 0, 0]);
  const { kinds: shown } = keeper.status();
  assert.deepEqual(
    shown.map(({ kind, givenBackBytes }) => [kind, givenBackBytes / MB]),
    [
      ['snapshots', 100],
      ['captures', 100],
      ['logs', 100],
      ['results', 100],
      ['dead-letters', 100],
      ['webhooks', 90],
      ['requests', 0],
      ['state', 0],
    ],
  );
  assert.match(await metrics.text(), /outrider_disk_given_back_bytes_total\{kind="webhooks"\} 90000000/);
});

test('with nothing left to give, requests are refused with the reason, until there is room well within the bound', async () => {
  const kept = [pieces('snapshots', '/data/snapshots', 5, 10 * MB)];
  const { keeper, requests, clock, logger } = setUp({ maxBytes: 1_000 * MB, kept });
  assert.equal(keeper.roomFor(5 * GB), undefined, 'nobody has looked yet: the disk itself has the word');
  requests.bytes = 900 * MB;
  await keeper.look();
  assert.equal(keeper.problem, undefined);
  assert.equal(keeper.roomFor(40 * MB), undefined);
  await keeper.roomFor(80 * MB);
  assert.deepEqual(left(kept), [0], 'snapshots go for a request');
  requests.bytes = 980 * MB;
  const refused =
    (used: number) =>
    (error: unknown): boolean =>
      isAppError(error, 'DISK_FULL') &&
      error.message === `the agent keeps ${used} bytes, its quota is 1000000000 (disk.maxBytes)`;
  await assert.rejects(async () => keeper.roomFor(30 * MB), refused(980 * MB));
  assert.equal(keeper.problem, undefined, 'smaller ones are taken');
  requests.bytes = 1_000 * MB;
  await keeper.look();
  assert.ok(keeper.status().isFull);
  assert.ok(refused(1_000 * MB)(keeper.problem));
  requests.bytes = 980 * MB;
  await clock.advance(10_000);
  await keeper.look();
  assert.ok(keeper.status().isFull, 'within the bound, and hardly');
  requests.bytes = 900 * MB;
  await keeper.look();
  assert.equal(keeper.problem, undefined);
  assert.deepEqual(
    logger.lines.map(({ event }) => event).filter((event) => /full|room/.test(event)),
    ['disk.full', 'disk.has_room'],
  );
});

test('a full disk is not looked at for each request that it refuses', async () => {
  const { keeper, requests, looks } = setUp({ maxBytes: 100 * MB });
  requests.bytes = 100 * MB;
  await keeper.look();
  const before = looks();
  for (let count = 0; count < 100; count++) await assert.rejects(async () => keeper.roomFor(1));
  assert.equal(looks(), before);
});

test('the room of others: each file system gets what it lacks of what lies on it', async () => {
  const kept = [
    pieces('snapshots', '/card/snapshots', 100, 10 * MB),
    pieces('snapshots', '/data/snapshots', 100, 10 * MB),
    pieces('results', '/data/results', 1, 10 * MB),
  ];
  const { keeper, rooms } = setUp({ keepFreeBytes: 0.5 * GB, kept });
  await keeper.look();
  assert.deepEqual(left(kept), [100, 100, 1]);
  rooms.card.freeBytes = 0.2 * GB;
  await keeper.look();
  assert.deepEqual(left(kept), [65, 100, 1], '300 MB, and a tenth of what is to stay free');
  rooms.data.freeBytes = 0.4 * GB;
  await keeper.look();
  assert.deepEqual(left(kept), [65, 84, 1]);
  // Somebody else's files take all: what is ours goes, and requests are refused.
  rooms.data.freeBytes = 0;
  kept[1]?.pieces.splice(2);
  await keeper.look();
  assert.deepEqual(left(kept), [65, 0, 0]);
  assert.match(
    keeper.problem?.message ?? '',
    /^the disk of \/data has 30000000 bytes free, 500000000 are to stay \(disk\.keepFree\)$/,
  );
  // A full card keeps nobody from asking the cloud.
  rooms.data.freeBytes = 100 * GB;
  rooms.card.freeBytes = 0;
  await keeper.look();
  assert.equal(keeper.problem, undefined);
});

test('of several folders of snapshots the oldest pictures go first', async () => {
  const kept = [
    pieces('snapshots', '/data/a', 10, 4 * MB, 1_000),
    pieces('snapshots', '/data/b', 10, 4 * MB, 0),
  ];
  const { keeper } = setUp({ maxBytes: 60 * MB, kept });
  await keeper.look();
  assert.deepEqual(left(kept), [10, 4]);
});

test('by itself 200 MB stay free, of a small card a twentieth', async () => {
  const { keeper, rooms } = setUp({});
  await keeper.look();
  assert.equal(keeper.status().keepFreeBytes, 200e6);
  rooms.data = { freeBytes: 0.1 * GB, totalBytes: 1 * GB };
  await keeper.look();
  assert.deepEqual([keeper.status().keepFreeBytes, keeper.status().isFull], [50e6, false]);
});

test('a part that fails keeps the others from nothing, and is told once', async () => {
  const broken = pieces('snapshots', '/data/broken', 10, 10 * MB);
  broken.look = () => Promise.reject(new Error('gone'));
  const kept = [broken, pieces('snapshots', '/data/good', 10, 10 * MB)];
  const { keeper, logger } = setUp({ maxBytes: 50 * MB, kept });
  await keeper.look();
  await keeper.look();
  assert.ok(left(kept)[1] === 4);
  assert.equal(logger.lines.filter(({ event }) => event === 'disk.not_counted').length, 1);
});

test('it looks again and again by the clock, and not after its stop', async () => {
  const { keeper, clock, looks } = setUp({});
  keeper.start();
  await clock.advance(35_000);
  const before = looks();
  assert.ok(before >= 4);
  await keeper.stop();
  await clock.advance(60_000);
  assert.equal(looks(), before);
});
