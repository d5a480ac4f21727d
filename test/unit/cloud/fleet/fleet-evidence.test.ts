import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FleetEvidence } from '../../../../cloud/fleet/fleet-evidence.ts';
import { fleetStart, MAX_PAIRS, type PairEvidence } from '../../../../shared/contract/fleet-evidence.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { deviceAfter, drawing, PAIR } from '../../../support/fleet-evidence.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const { next } = seededRandom(5);
const DEVICES = Array.from({ length: 12 }, () => deviceAfter(800, drawing(next), next));
const { comparedBy, ...MODELS } = PAIR;
const PROMISE = { ...MODELS, agreement: 0.98, confidence: 0.95 };
const DAY_MS = 24 * 3_600_000;
const FILE = 'pairs.json';

async function open(t: TestContext, folder?: string) {
  const where = folder ?? (await temporaryFolder(t));
  const clock = new FakeClock();
  const logger = recordingLogger();
  const gone = new Set<string>();
  const news = { count: 0 };
  const fleet = new FleetEvidence({
    folder: where,
    isActive: (id) => !gone.has(id),
    onNews: () => news.count++,
    clock,
    logger,
  });
  await fleet.start();
  const devices = () => fleet.startsFor([PROMISE])[0]?.thresholds[0]?.devices ?? 0;
  const fill = (all: readonly PairEvidence[] = DEVICES) => {
    for (const [index, one] of all.entries()) fleet.take(`gate-${index}`, [one]);
  };
  return { fleet, folder: where, clock, logger, gone, news, devices, fill };
}

test('gives who asks a start from what all others have seen of the same pair, compared in the same way', async (t) => {
  const { fleet, fill } = await open(t);
  assert.deepEqual(fleet.startsFor([PROMISE]), []);
  fill();
  const [start, ...more] = fleet.startsFor([PROMISE, PROMISE]);
  assert.deepEqual(more, []);
  assert.deepEqual(fleetStart.parse(start), start);
  assert.deepEqual(
    [start?.comparedBy, start?.thresholds.length, start?.thresholds[0]?.standing],
    [comparedBy, 1, 'few'],
  );
  const other = 'c'.repeat(64);
  assert.deepEqual(fleet.startsFor([{ ...PROMISE, cloudDigest: other }]), [], 'of another cloud version');
  assert.deepEqual(fleet.startsFor([{ ...PROMISE, edgeDigest: other }]), [], 'of another edge version');
  const stricter = fleet.startsFor([PROMISE, { ...PROMISE, agreement: 0.97 }])[0]?.thresholds ?? [];
  assert.equal(stricter.length, 2);
  assert.ok((stricter[1]?.threshold ?? 0) <= (stricter[0]?.threshold ?? 0), 'a weaker promise keeps more');
  fleet.take('gate-x', [{ ...(DEVICES[0] as PairEvidence), comparedBy: 'f'.repeat(16) }]);
  assert.equal(fleet.startsFor([PROMISE]).length, 1, 'one that compares otherwise is no fleet of its own');
});

test('what a device says stands in the place of what it has said, and a drift takes it away', async (t) => {
  const { fleet, fill, devices } = await open(t);
  fill();
  fill();
  assert.equal(devices(), 12, 'the same once more counts once');
  fleet.take('gate-0', [
    { ...(DEVICES[0] as PairEvidence), requests: 0, asked: 0, weights: 0, loss: 0, places: [] },
  ]);
  assert.equal(devices(), 11, 'after its drift it has seen nothing yet');
});

test('a device that is revoked, has lost its credential or was not heard for a month does not count', async (t) => {
  const { fleet, fill, devices, gone, clock } = await open(t);
  fill();
  assert.equal(devices(), 12);
  fleet.forget('gate-1');
  assert.equal(devices(), 11);
  gone.add('gate-2');
  fleet.take('gate-3', [DEVICES[3] as PairEvidence]);
  assert.equal(devices(), 10);
  await clock.advance(20 * DAY_MS);
  fleet.take('gate-4', [DEVICES[4] as PairEvidence]);
  await clock.advance(15 * DAY_MS);
  fleet.take('gate-5', [DEVICES[5] as PairEvidence]);
  assert.equal(devices(), 0, 'two are no fleet');
  assert.equal(fleet.sight().pairs.devices, 2);
  for (const index of DEVICES.keys()) fleet.forget(`gate-${index}`);
  assert.deepEqual(fleet.sight(), { pairs: { devices: 0, subjects: 0, oldestAtMs: null }, known: [] });
});

test('tells when other starts are to be had, gathered, and only where somebody has asked', async (t) => {
  const { fleet, fill, devices, news, clock } = await open(t);
  fill();
  await clock.advance(60_000);
  assert.equal(news.count, 0, 'nobody waits for one');
  devices();
  fleet.take('gate-0', [{ ...(DEVICES[0] as PairEvidence), requests: 801 }]);
  await clock.advance(60_000);
  assert.equal(news.count, 0, 'a thousandth more says the same');
  for (const index of [0, 1, 2])
    fleet.take(`gate-${index}`, [{ ...(DEVICES[index] as PairEvidence), requests: 2_000 }]);
  await clock.advance(1_000);
  assert.equal(news.count, 1);
  devices();
  fleet.forget('gate-7');
  await clock.advance(5_000);
  assert.equal(news.count, 1, 'not at once again');
  await clock.advance(30_000);
  assert.equal(news.count, 2);
});

test('is kept over a restart; a file that cannot be read is none, and is said', async (t) => {
  const first = await open(t);
  first.fill();
  await first.clock.advance(30_000);
  await settle();
  const written = JSON.parse(await readFile(join(first.folder, FILE), 'utf8')) as { devices: object };
  assert.equal(Object.keys(written.devices).length, 12);
  first.fleet.forget('gate-3');
  await first.fleet.stop();
  const second = await open(t, first.folder);
  assert.equal(second.devices(), 11);
  await second.fleet.stop();
  await writeFile(join(first.folder, FILE), '{"schema":1,"devices":{"gate-0":[{"requests":-1}]}}');
  const third = await open(t, first.folder);
  assert.equal(third.devices(), 0);
  assert.match(JSON.stringify(third.logger.lines), /fleet_evidence.unreadable/);
  third.fill();
  assert.equal(third.devices(), 12);
});

test('keeps so many pairs of a device, whatever it makes up', async (t) => {
  const { fleet, fill, devices } = await open(t);
  fill();
  for (let index = 0; index < 200; index++)
    fleet.take('gate-0', [
      { ...(DEVICES[0] as PairEvidence), edgeDigest: index.toString(16).padStart(64, '0') },
    ]);
  assert.ok(fleet.sight().pairs.subjects <= MAX_PAIRS + 1);
  assert.equal(devices(), 11, 'what it has said of the pair before is gone with what came after');
});
