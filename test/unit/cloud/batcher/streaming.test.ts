/** A request whose tokens are heard as they come: alone, in its turn, once, and only as long as somebody listens. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { setImmediate as settled } from 'node:timers/promises';
import { Batcher } from '../../../../cloud/batcher/batcher.ts';
import type { InferenceRequest, ModelLease } from '../../../../cloud/ports.ts';
import type { CallControl, Outcome } from '../../../../shared/inference/runner/runner.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const TOKEN = { id: 1, text: 'a', logprob: 0, special: false };

interface Run {
  readonly handles: readonly number[];
  readonly control: CallControl | undefined;
  answer(): void;
  fail(error: AppError): void;
}

describe('a streamed request', () => {
  let clock: FakeClock;
  let runs: Run[];
  let released: number[];
  let batcher: Batcher;

  beforeEach(() => {
    clock = new FakeClock();
    runs = [];
    released = [];
    let handle = 0;
    const lease = (): ModelLease => ({
      ref: { name: 'm', version: '1', digest: 'd'.repeat(64) },
      maxBatchSize: 8,
      prepare: async () => ({ handle: handle++, shapeKey: 'one' }),
      run: (handles, control) =>
        new Promise((resolve, reject) => {
          const outcomes = handles.map(
            (output): Outcome => ({
              ok: true,
              value: { output, routeScore: 0, timingsMs: { preprocess: 0, inference: 1 } },
            }),
          );
          runs.push({ handles, control, answer: () => resolve(outcomes), fail: reject });
        }),
      discard: (handles) => released.push(...handles),
      shrink: async (body) => body,
      isStale: () => false,
      giveBack: () => undefined,
    });
    batcher = new Batcher({ pool: { lease: async () => lease() }, clock });
  });

  const ask = (more: Partial<InferenceRequest> = {}) =>
    batcher.infer({
      ...{ model: 'm', caller: 'key a', input: { contentType: 'text/plain', body: Buffer.from('a') } },
      ...{ deadlineMonoMs: clock.nowMonoMs() + 10, expiresMonoMs: clock.nowMonoMs() + 1_000 },
      ...more,
    });
  const run = async (index: number): Promise<Run> => {
    for (let tries = 0; tries < 20 && runs.length <= index; tries++) await settled();
    return runs[index] ?? assert.fail(`there are ${runs.length} runs`);
  };
  const isExpired = (error: unknown): boolean => isAppError(error, 'EXPIRED');

  it('runs alone, in the order of deadlines, and others keep their batches', async () => {
    const first = ask();
    await run(0);
    const heard: string[] = [];
    const rest = [
      ask(),
      ask({ deadlineMonoMs: clock.nowMonoMs() + 20, onToken: ({ text }) => heard.push(text) }),
      ask({ deadlineMonoMs: clock.nowMonoMs() + 30 }),
      ask(),
    ];
    await settled();
    (await run(0)).answer();
    const together = await run(1);
    assert.equal(together.handles.length, 3, 'those that are not heard, whatever stands between them');
    assert.equal(together.control, undefined);
    together.answer();
    const alone = await run(2);
    assert.equal(alone.handles.length, 1);
    alone.control?.onToken?.(TOKEN, true);
    alone.answer();
    await Promise.all([first, ...rest]);
    assert.deepEqual(heard, ['a']);
  });

  it('is dropped where it waits when its caller goes', async () => {
    const first = ask();
    await run(0);
    const leaving = new AbortController();
    const waiting = ask({ signal: leaving.signal, onToken: () => undefined });
    await settled();
    leaving.abort();
    await assert.rejects(waiting, isExpired);
    (await run(0)).answer();
    await first;
    assert.deepEqual([runs.length, released.length, batcher.depth], [1, 1, 0]);
    await assert.rejects(ask({ signal: AbortSignal.abort() }), isExpired);
  });

  it('is told to end when its caller goes, or it expires, while it runs', async () => {
    for (const why of ['caller', 'expiry'] as const) {
      const leaving = new AbortController();
      const asked = ask({ signal: leaving.signal, onToken: () => undefined });
      const { control, fail } = await run(runs.length);
      assert.equal(control?.signal?.aborted, false);
      if (why === 'caller') leaving.abort();
      else await clock.advance(1_001);
      assert.equal(control?.signal?.aborted, true, why);
      fail(new AppError('EXPIRED'));
      await assert.rejects(asked, isExpired);
    }
  });

  it('is not run again once it has spoken', async () => {
    const silent = ask({ onToken: () => undefined });
    (await run(0)).fail(new AppError('RUNNER_CRASHED'));
    const again = await run(1);
    again.control?.onToken?.(TOKEN, false);
    again.fail(new AppError('RUNNER_CRASHED'));
    await assert.rejects(silent, (error) => isAppError(error, 'RUNNER_CRASHED'));
    const spoken = ask({ onToken: () => undefined });
    const one = await run(2);
    one.control?.onToken?.(TOKEN, false);
    one.fail(new AppError('RUNNER_CRASHED'));
    await assert.rejects(spoken, (error) => isAppError(error, 'RUNNER_CRASHED'));
    assert.equal(runs.length, 3);
  });
});
