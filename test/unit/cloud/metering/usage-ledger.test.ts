import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FileUsageLedger } from '../../../../cloud/metering/usage-ledger.ts';
import type { UsageLine } from '../../../../cloud/ports.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const line = (inputBytes: number): UsageLine => ({
  atMs: 1,
  who: 'gate-01',
  requestId: newId(),
  model: { name: 'tiny', version: '1', digest: 'a'.repeat(64) },
  inputBytes,
  inferenceMs: 2,
});

describe('the usage ledger', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'outrider-usage-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const create = (options: Partial<ConstructorParameters<typeof FileUsageLedger>[0]> = {}) =>
    new FileUsageLedger({ folder, clock: systemClock, logger: silentLogger, ...options });
  const lines = async (): Promise<UsageLine[]> => {
    const files = (await readdir(folder)).filter((name) => name.endsWith('.ndjson'));
    const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
    return texts
      .join('')
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => JSON.parse(text) as UsageLine);
  };

  it('has written what it was told within a second', async () => {
    const clock = new FakeClock();
    const ledger = create({ clock });
    await ledger.start();
    ledger.record(line(1));
    await clock.advance(999);
    assert.equal((await lines()).length, 1);
    // And again: what comes later is not left to the end.
    ledger.record(line(2));
    await clock.advance(999);
    assert.equal((await lines()).length, 2);
    assert.equal(clock.waiting, 0, 'nothing wakes it until something comes');
    await ledger.stop();
  });

  it('writes the rest when it is stopped, and goes on at the next start', async () => {
    for (let start = 0; start < 3; start++) {
      const ledger = create();
      await ledger.start();
      for (let i = 0; i < 100; i++) ledger.record(line(start * 100 + i));
      await ledger.stop();
    }
    assert.deepEqual(
      (await lines()).map(({ inputBytes }) => inputBytes),
      Array.from({ length: 300 }, (_, i) => i),
    );
  });

  it('counts a request once, also across a restart and a rotation, and that of another device for itself', async () => {
    const again = line(7);
    const small = { maxFileBytes: 1_000 };
    const first = create(small);
    await first.start();
    first.record(again);
    first.record(again);
    for (let i = 0; i < 10; i++) {
      first.record(line(i));
      await first.flush();
    }
    await first.stop();
    assert.ok((await readdir(folder)).length > 1, 'the file was rotated');
    const second = create(small);
    await second.start();
    second.record(again);
    second.record({ ...again, who: 'gate-02' });
    await second.stop();
    const counted = (await lines()).filter(({ requestId }) => requestId === again.requestId);
    assert.deepEqual(counted.map(({ who }) => who).sort(), ['gate-01', 'gate-02']);
  });

  it('cuts a torn last line away', async () => {
    const first = create();
    await first.start();
    first.record(line(1));
    await first.stop();
    await appendFile(join(folder, 'usage.ndjson'), '{"atMs":1,"wh');
    const second = create();
    await second.start();
    second.record(line(2));
    await second.stop();
    assert.deepEqual(
      (await lines()).map(({ inputBytes }) => inputBytes),
      [1, 2],
    );
  });

  it('puts full files aside and keeps the newest', async () => {
    const ledger = create({ maxFileBytes: 1_000, maxFiles: 3 });
    await ledger.start();
    for (let i = 0; i < 60; i++) {
      ledger.record(line(i));
      await ledger.flush();
    }
    await ledger.stop();
    const files = await readdir(folder);
    assert.equal(files.filter((name) => name.startsWith('usage-')).length, 3);
    assert.equal((await lines()).map(({ inputBytes }) => inputBytes).includes(59), true);
  });

  it('waits with bounded memory while the disk takes nothing, counts what it drops, and catches up', async () => {
    const ledger = create({ maxPendingBytes: 2_000, maxFileBytes: 1 });
    await ledger.start();
    ledger.record(line(0));
    await ledger.flush();
    // The next rotation has no folder to put its file in.
    const aside = `${folder}-aside`;
    await rename(folder, aside);
    await writeFile(folder, '');
    for (let i = 1; i < 100; i++) ledger.record(line(i));
    await ledger.flush();
    assert.ok(ledger.dropped > 80);
    const kept = 100 - ledger.dropped;
    await rm(folder);
    await rename(aside, folder);
    await ledger.start();
    await ledger.stop();
    // The oldest, whole and in their order: what found no room is what came last.
    assert.deepEqual(
      (await lines()).map(({ inputBytes }) => inputBytes),
      Array.from({ length: kept }, (_, index) => index),
    );
  });
});
