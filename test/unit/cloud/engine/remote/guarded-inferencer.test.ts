/** What stands around an engine: breaker, retries within a budget, the caller's time, the fallback. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CircuitBreaker, RetryBudget } from '../../../../../cloud/engine/remote/circuit-breaker.ts';
import {
  GuardedInferencer,
  type GuardedOptions,
} from '../../../../../cloud/engine/remote/guarded-inferencer.ts';
import { Turns } from '../../../../../cloud/engine/remote/turns.ts';
import type { InferenceReply, InferenceRequest } from '../../../../../cloud/ports.ts';
import { AppError, type ErrorCode } from '../../../../../shared/runtime/errors.ts';
import { FakeClock } from '../../../../support/fake-clock.ts';

const REF = { name: 'far', version: '1', digest: 'f'.repeat(64) };
const reply = (name = 'far'): InferenceReply => ({
  ...{ output: name, model: { ...REF, name }, timingsMs: { queue: 0, preprocess: 0, inference: 1 } },
});
const away = (): never => {
  throw new AppError('ENGINE_UNREACHABLE');
};

function start(options: Partial<GuardedOptions> = {}) {
  const clock = new FakeClock();
  const breaker = new CircuitBreaker(clock, () => 0.5);
  const told: string[] = [];
  let asked = 0;
  type Engine = (request: InferenceRequest) => Promise<InferenceReply> | InferenceReply;
  let engine: Engine = () => reply();
  const guarded = new GuardedInferencer({
    ...{ kind: 'openai', breaker, clock, fallback: undefined, random: () => 0.5 },
    engine: {
      infer: async (request) => {
        asked += 1;
        return engine(request);
      },
    },
    tell: {
      asked: (error) => told.push(error?.code ?? 'ok'),
      retried: () => told.push('retried'),
      fellBack: ({ code }) => told.push(`fell back: ${code}`),
    },
    ...options,
  });
  const ask = (more: Partial<InferenceRequest> = {}): Promise<InferenceReply> =>
    guarded.infer({
      ...{ model: 'far', caller: 'key a', input: { contentType: 'text/plain', body: Buffer.from('a') } },
      ...{ deadlineMonoMs: clock.nowMonoMs(), expiresMonoMs: clock.nowMonoMs() + 10_000 },
      ...more,
    });
  /** Asks, and lets the time for retries pass. */
  const settle = async (more?: Partial<InferenceRequest>): Promise<unknown> => {
    const asking = ask(more).catch((error: AppError) => error.code);
    await clock.advance(2_000);
    return asking;
  };
  return {
    ...{ clock, breaker, told, ask, settle },
    get asked() {
      return asked;
    },
    becomes(next: Engine): void {
      engine = next;
    },
  };
}

describe('an engine on another server', () => {
  it('says which kind it is, in every answer', async () => {
    const { ask, told } = start();
    assert.deepEqual((await ask()).model, { ...REF, engine: 'openai' });
    assert.deepEqual(told, ['ok']);
  });

  it('is asked again twice where it was not there, and not where it has failed otherwise or the caller is at fault', async () => {
    const there = start();
    let left = 2;
    there.becomes(() => (left-- > 0 ? away() : reply()));
    assert.equal(((await there.settle()) as InferenceReply).output, 'far');
    assert.deepEqual(there.told, ['ENGINE_UNREACHABLE', 'retried', 'ENGINE_UNREACHABLE', 'retried', 'ok']);
    for (const code of [
      'ENGINE_FAILED',
      'ENGINE_TIMEOUT',
      'ENGINE_REFUSED',
      'INPUT_INVALID',
      'QUEUE_FULL',
    ] as const) {
      const other = start();
      other.becomes(() => {
        throw new AppError(code);
      });
      assert.equal(await other.settle(), code);
      assert.equal(other.asked, 1, code);
    }
  });

  it('is not asked again once it has said something: that can’t be taken back', async () => {
    const there = start({
      fallback: { model: 'near', inferencer: { infer: async () => reply('near') } },
    });
    there.becomes(({ onToken }) => {
      onToken?.({ id: 1, text: 'a', logprob: 0, special: false }, false);
      return away();
    });
    assert.equal(await there.settle({ onToken: () => undefined }), 'ENGINE_UNREACHABLE');
    assert.equal(there.asked, 1);
  });

  it('costs a bounded share of retries, however many ask', () => {
    const budget = new RetryBudget();
    const takes = (count: number): number =>
      Array.from({ length: count }, () => budget.take()).filter(Boolean).length;
    assert.equal(takes(100), 10);
    for (let answered = 0; answered < 30; answered++) budget.answered();
    assert.equal(takes(100), 3);
  });

  it('is left alone after five failures, then asked by one request, and by all once that was answered', async () => {
    const there = start();
    there.becomes(() => {
      throw new AppError('ENGINE_FAILED');
    });
    for (let failed = 0; failed < 5; failed++) await assert.rejects(there.ask(), { code: 'ENGINE_FAILED' });
    assert.equal(there.breaker.state, 'open');
    const before = there.asked;
    await assert.rejects(there.ask(), (error: AppError) => {
      assert.equal(error.code, 'ENGINE_UNREACHABLE');
      assert.ok(Number(error.details?.retryAfterMs) > 0);
      return true;
    });
    assert.equal(there.asked, before, 'it was not asked');
    await there.clock.advance(60_000);
    assert.equal(there.breaker.state, 'half-open');
    let answer: (value: InferenceReply) => void = () => undefined;
    there.becomes(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    const probe = there.ask();
    await assert.rejects(there.ask(), { code: 'ENGINE_UNREACHABLE' });
    answer(reply());
    await probe;
    assert.equal(there.breaker.state, 'closed');
  });

  it('is open for longer each time, and no health makes a failing probe a success', async () => {
    const clock = new FakeClock();
    const breaker = new CircuitBreaker(clock, () => 0.5);
    const waits: number[] = [];
    for (let opened = 0; opened < 8; opened++) {
      for (let failed = 0; failed < 5; failed++) breaker.admit()?.('failed');
      waits.push(breaker.waitMs);
      await clock.advance(breaker.waitMs);
    }
    for (const [at, wait] of waits.entries())
      if (at > 0) assert.ok(wait >= (waits[at - 1] ?? 0), String(waits));
    assert.ok((waits.at(-1) ?? 0) <= 60_000);
    breaker.admit()?.('failed');
    assert.equal(breaker.state, 'open');
    breaker.looked(true);
    assert.equal(breaker.state, 'half-open');
    breaker.admit()?.('left');
    assert.equal(breaker.state, 'half-open', 'of one that was left nobody knows');
    breaker.admit()?.('answered');
    assert.equal(breaker.state, 'closed');
  });

  it('never keeps a caller longer than it waits', async () => {
    const there = start();
    const heard: AbortSignal[] = [];
    there.becomes(({ signal }) => {
      if (signal) heard.push(signal);
      return new Promise(() => undefined);
    });
    const asking = there.ask({ expiresMonoMs: there.clock.nowMonoMs() + 500 });
    const failed = assert.rejects(asking, { code: 'EXPIRED' });
    await there.clock.advance(500);
    await failed;
    assert.deepEqual(
      heard.map(({ aborted }) => aborted),
      [true],
      'the work is told to end',
    );
  });

  it('falls back where a model of this hub is named, says which one, and not for a bad input', async () => {
    const asked: string[] = [];
    const there = start({
      fallback: {
        model: 'near',
        inferencer: {
          infer: async ({ model }) => {
            asked.push(model);
            return reply('near');
          },
        },
      },
    });
    there.becomes(away);
    const { model } = (await there.settle()) as InferenceReply;
    assert.deepEqual([model.name, model.engine, asked], ['near', undefined, ['near']]);
    assert.equal(there.told.at(-1), 'fell back: ENGINE_UNREACHABLE');
    there.becomes(() => {
      throw new AppError('INPUT_INVALID' satisfies ErrorCode);
    });
    assert.equal(await there.settle(), 'INPUT_INVALID');
    assert.equal(asked.length, 1);
  });

  it('has 64 turns at a time, and a bounded line before them', async () => {
    const turns = new Turns();
    const ends: (() => void)[] = [];
    let most = 0;
    let now = 0;
    const works = Array.from({ length: 1_064 }, () =>
      turns.take(async () => {
        now += 1;
        most = Math.max(most, now);
        await new Promise<void>((resolve) => ends.push(resolve));
        now -= 1;
      }),
    );
    await assert.rejects(
      turns.take(async () => undefined),
      { code: 'QUEUE_FULL' },
    );
    const all = Promise.all(works);
    let isOver = false;
    void all.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      for (const end of ends.splice(0)) end();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(most, 64);
  });
});
