import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { Evidence } from '../../../../cloud/rollout/evidence.ts';
import { MAX_JUDGED_WEIGHT, versionCounts } from '../../../../shared/contract/version-counts.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { counts } from '../../../support/version-counts.ts';

const { digest } = EDGE_MODEL;
const numbered = (index: number) => ({ ...EDGE_MODEL, digest: index.toString(16).padStart(64, '0') });

describe('evidence', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'outrider-evidence-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const open = async () => {
    const clock = new FakeClock();
    const logger = recordingLogger();
    const evidence = new Evidence({ folder, clock, logger });
    await evidence.start();
    const answersOf = (of = digest) => evidence.of('gate-01', of)?.answers;
    return { clock, logger, evidence, answersOf, path: join(folder, 'evidence.json') };
  };

  it('adds up the runs of an agent, and takes the newest word of each', async () => {
    const { evidence, answersOf } = await open();
    assert.equal(answersOf(), undefined);
    evidence.take('gate-01', [counts({ answers: 10, memoryBytes: 5 })]);
    evidence.take('gate-01', [counts({ answers: 12, memoryBytes: 4 })]);
    assert.equal(answersOf(), 12);
    evidence.take('gate-01', [counts({ run: 'run-2', answers: 3, memoryBytes: 1 })]);
    assert.deepEqual([answersOf(), evidence.of('gate-01', digest)?.memoryBytes], [15, 5]);
    assert.equal(evidence.of('gate-02', digest), undefined);
    await evidence.stop();
  });

  it('two programs with one name, which speak in turns, are not counted again and again', async () => {
    const { evidence, answersOf } = await open();
    for (let turn = 1; turn <= 50; turn++)
      for (const run of ['run-1', 'run-2']) evidence.take('gate-01', [counts({ run, answers: turn })]);
    assert.equal(answersOf(), 100);
    for (let run = 3; run <= 20; run++) evidence.take('gate-01', [counts({ run: `run-${run}`, answers: 1 })]);
    assert.equal(answersOf(), 118);
    await evidence.stop();
  });

  it('a run that goes back in its numbers is told of once, and takes nothing away', async () => {
    const { evidence, answersOf, logger } = await open();
    for (const answers of [10, 4, 3]) evidence.take('gate-01', [counts({ answers })]);
    assert.equal(answersOf(), 10);
    assert.deepEqual(
      logger.lines.map(({ event }) => event),
      ['evidence.went_back'],
    );
    await evidence.stop();
  });

  it('keeps six versions of a model, the newest that the device names, however many it makes up', async () => {
    const { evidence, answersOf } = await open();
    evidence.take('gate-01', [counts({ answers: 1 })]);
    for (let index = 1; index <= 30; index++)
      evidence.take('gate-01', [
        counts({ model: numbered(index), answers: index }),
        counts({ answers: index }),
      ]);
    assert.deepEqual([answersOf(), answersOf(numbered(30).digest)], [30, 30]);
    assert.deepEqual([answersOf(numbered(26).digest), answersOf(numbered(25).digest)], [26, undefined]);
    for (let index = 0; index < 1_000; index++)
      evidence.take('gate-01', [counts({ model: { ...EDGE_MODEL, name: `made-up-${index}` } })]);
    await evidence.stop();
    const { devices } = JSON.parse(await readFile(join(folder, 'evidence.json'), 'utf8'));
    assert.equal(devices['gate-01'].length, 120);
  });

  it('is there again after a restart, and goes on with the same run', async () => {
    const first = await open();
    first.evidence.take('gate-01', [counts({ answers: 10, times: [[3, 10]], crashes: 1 })]);
    first.evidence.take('gate-02', [counts({ answers: 1 })]);
    await first.clock.advance(30_000);
    assert.match(await readFile(first.path, 'utf8'), /"answers":10/);
    first.evidence.forget('gate-02');
    await first.evidence.stop();
    const again = await open();
    again.evidence.take('gate-01', [counts({ answers: 11, times: [[3, 11]], crashes: 1 })]);
    const { answers, crashes, times } = again.evidence.of('gate-01', digest) ?? {};
    assert.deepEqual([answers, crashes, times?.[3]], [11, 1, 11]);
    assert.equal(again.evidence.of('gate-02', digest), undefined);
    await again.evidence.stop();
  });

  it('begins anew where its file is torn or another’s, and says so', async () => {
    for (const text of ['{"schema":1,"dev', '{"schema":2}', '[]', '{"schema":1,"devices":{"a":[{}]}}']) {
      await writeFile(join(folder, 'evidence.json'), text);
      const { evidence, logger, answersOf } = await open();
      assert.deepEqual(logger.failures(), ['evidence.unreadable DATA_CORRUPT'], text);
      evidence.take('gate-01', [counts({ answers: 1 })]);
      assert.equal(answersOf(), 1);
      await evidence.stop();
    }
  });

  it('a disk that is full keeps what is known in memory, and is tried again', async () => {
    const { evidence, clock, logger, answersOf, path } = await open();
    await rm(folder, { recursive: true, force: true });
    await writeFile(folder, 'in the way');
    evidence.take('gate-01', [counts({ answers: 7 })]);
    await clock.advance(30_000);
    await settle();
    assert.match(logger.failures().join(), /evidence.not_saved/);
    await rm(folder);
    await evidence.stop();
    assert.equal(answersOf(), 7);
    assert.match(await readFile(path, 'utf8'), /"answers":7/);
  });

  it('whatever a device says, sums stay numbers that can be', async () => {
    const { evidence } = await open();
    const number = fc.oneof(
      fc.integer({ min: 0, max: 1_000 }),
      fc.constantFrom(Number.MAX_SAFE_INTEGER, 1e12, 0),
    );
    const real = fc.oneof(number, fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }));
    const lie = fc.record({
      answers: number,
      failures: number,
      crashes: number,
      run: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      memoryBytes: fc.option(real),
      times: fc.array(fc.tuple(fc.integer({ min: 0, max: 79 }), number), { maxLength: 80 }),
      judged: fc.record({ requests: number, asked: number, loss: real, squares: real, weights: real }),
      routed: fc.record({ requests: number, escalated: number }),
    });
    fc.assert(
      fc.property(lie, (told) => {
        const said = versionCounts.safeParse(counts(told));
        if (said.success) evidence.take('gate-01', [said.data]);
        const totals = evidence.of('gate-01', digest);
        if (!totals) return;
        const { judged, routed, times } = totals;
        const all = [totals.answers, totals.failures, totals.crashes, ...times, ...Object.values(judged)];
        assert.ok(all.every((value) => Number.isFinite(value) && value >= 0));
        assert.ok(judged.asked <= judged.requests && routed.escalated <= routed.requests);
        assert.ok(judged.loss <= judged.asked * MAX_JUDGED_WEIGHT);
        assert.ok(judged.squares <= judged.loss * MAX_JUDGED_WEIGHT * (1 + 1e-9));
      }),
    );
    await evidence.stop();
  });
});
