/** The small ones: backoff, clock, ids, JSON, lifecycle, median, metrics. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { backoffDelayMs } from '../../../../shared/runtime/backoff.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { newId, newSecret, secretMatches, sha256Hex } from '../../../../shared/runtime/ids.ts';
import { tryParseJson } from '../../../../shared/runtime/json.ts';
import { Lifecycle } from '../../../../shared/runtime/lifecycle.ts';
import { median } from '../../../../shared/runtime/median.ts';
import { createMetrics } from '../../../../shared/runtime/metrics.ts';

describe('backoff', () => {
  const options = {
    firstMs: fc.integer({ min: 1, max: 10_000 }),
    maxMs: fc.integer({ min: 1, max: 1_000_000 }),
  };

  it('waits a whole number of milliseconds below the cap of the attempt, however many there were', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.nat(20), fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER)),
        fc.record(options),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, { firstMs, maxMs }, lot) => {
          const delayMs = backoffDelayMs(attempt, { firstMs, maxMs, random: () => lot });
          const cap = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 40));
          assert.ok(Number.isInteger(delayMs) && delayMs >= 0 && delayMs < cap, `${delayMs} of ${cap}`);
        },
      ),
    );
  });

  it('uses the whole span: a fleet spreads out', () => {
    const at = (lot: number): number => backoffDelayMs(3, { firstMs: 100, maxMs: 10_000, random: () => lot });
    assert.deepEqual([at(0), at(0.5), at(0.999_999)], [0, 400, 799]);
  });
});

describe('the system clock', () => {
  it('ends a wait when told to, and leaves no listener behind either way', async () => {
    const ending = new AbortController();
    const waiting = systemClock.sleep(60_000, ending.signal);
    ending.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(systemClock.sleep(0, ending.signal), /enough/);

    const living = new AbortController();
    for (let i = 0; i < 20; i++) await systemClock.sleep(0, living.signal, true);
    assert.equal(getEventListeners(living.signal, 'abort').length, 0);
  });

  it('calls back once, unless cancelled; a wait of years does not fire at once', async () => {
    const called: string[] = [];
    systemClock.after(1, () => called.push('short'));
    systemClock.after(1, () => called.push('cancelled'))();
    const cancelYears = systemClock.after(1e12, () => called.push('years'));
    await systemClock.sleep(20, undefined, true);
    cancelYears();
    assert.deepEqual(called, ['short']);
  });

  it('measures spans on a clock that does not go back', () => {
    const first = systemClock.nowMonoMs();
    assert.ok(systemClock.nowMonoMs() >= first);
    const beforeAtMs = Date.now();
    const atMs = systemClock.nowAtMs();
    assert.ok(beforeAtMs <= atMs && atMs <= Date.now());
  });
});

describe('ids and secrets', () => {
  it('makes ids that sort by their time and secrets of 256 bits', () => {
    const ids = Array.from({ length: 1_000 }, newId);
    assert.deepEqual([...ids].sort(), ids);
    assert.equal(new Set(ids).size, ids.length);
    assert.match(ids[0]!, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(Buffer.from(newSecret(), 'base64url').length, 32);
    assert.notEqual(newSecret(), newSecret());
  });

  it('knows a secret by its hash, and nothing else', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (secret, other) => {
        assert.equal(secretMatches(other, sha256Hex(secret)), secret === other);
      }),
    );
    for (const noHash of ['', 'ab', 'zz'.repeat(32), 'a'.repeat(66)]) assert.ok(!secretMatches('x', noHash));
  });
});

describe('JSON of strangers', () => {
  it('is read where it is JSON, also from the middle of a buffer', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(5), (value, offset) => {
        const text = Buffer.from(JSON.stringify(value));
        const around = Buffer.concat([Buffer.alloc(offset, 'x'), text, Buffer.alloc(3, 'x')]);
        const read = tryParseJson(around.subarray(offset, offset + text.length));
        assert.deepEqual(read, JSON.parse(JSON.stringify(value)));
      }),
    );
    for (const text of ['', '{', 'hello', '{"a": 1} x'])
      assert.equal(tryParseJson(Buffer.from(text)), undefined);
  });
});

describe('lifecycle', () => {
  const setUp = () => {
    const happened: string[] = [];
    const lifecycle = new Lifecycle((name) => happened.push(`${name} failed to stop`));
    const start = (name: string, { failsToStart = false, failsToStop = false } = {}): Promise<void> =>
      lifecycle.start(name, {
        start: async () => {
          if (failsToStart) throw new Error(`${name} cannot start`);
          happened.push(`start ${name}`);
        },
        stop: async () => {
          happened.push(`stop ${name}`);
          if (failsToStop) throw new Error('no');
        },
      });
    return { happened, lifecycle, start };
  };

  it('stops in reverse order, each part once', async () => {
    const { happened, lifecycle, start } = setUp();
    await start('a');
    await start('b');
    await lifecycle.stop();
    await lifecycle.stop();
    assert.deepEqual(happened, ['start a', 'start b', 'stop b', 'stop a']);
  });

  it('takes the started ones down when one cannot start', async () => {
    const { happened, start } = setUp();
    await start('a');
    await start('b');
    await assert.rejects(start('c', { failsToStart: true }), /c cannot start/);
    assert.deepEqual(happened, ['start a', 'start b', 'stop b', 'stop a']);
  });

  it('a part that fails to stop does not keep the others up', async () => {
    const { happened, lifecycle, start } = setUp();
    await start('a');
    await start('b', { failsToStop: true });
    await lifecycle.stop();
    assert.deepEqual(happened, ['start a', 'start b', 'stop b', 'b failed to stop', 'stop a']);
  });
});

describe('metrics', () => {
  it('counts, observes in seconds, and reads gauges when somebody looks', async () => {
    const metrics = createMetrics({
      things_total: { kind: 'counter', help: 'Things', labels: ['kind'] },
      work_seconds: { kind: 'histogram', help: 'Work', labels: [] },
    });
    metrics.count('things_total', { kind: 'a' });
    metrics.count('things_total', { kind: 'a' }, 4);
    metrics.observeSeconds('work_seconds', {}, 0.02);
    let depth = 1;
    metrics.gauge('depth_entries', 'Depth', () => depth);
    depth = 7;
    const text = await metrics.text();
    assert.match(text, /things_total\{kind="a"\} 5\n/);
    assert.match(text, /work_seconds_bucket\{le="0.025"\} 1\n/);
    assert.match(text, /work_seconds_bucket\{le="0.01"\} 0\n/);
    assert.match(text, /depth_entries 7\n/);
    assert.match(metrics.contentType(), /text\/plain/);
  });
});

describe('the median', () => {
  it('is in the middle, whatever the order', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, min: 0, max: 1e6 }), { minLength: 1 }), (values) => {
        const middle = median(values);
        const below = values.filter((value) => value < middle).length;
        const above = values.filter((value) => value > middle).length;
        assert.ok(below <= values.length / 2 && above <= values.length / 2);
      }),
    );
  });
});
