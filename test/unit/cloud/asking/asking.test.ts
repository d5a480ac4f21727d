import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ADMITS_EVERY_KEY } from '../../../../cloud/asking/admission.ts';
import { HttpAsking } from '../../../../cloud/asking/asking.ts';
import type {
  InferenceReply,
  InferenceRequest,
  KeyAdmission,
  Question,
  UsageLine,
} from '../../../../cloud/ports.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import type { TaskInput, TaskName } from '../../../../shared/tasks/tasks.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { asker, startHubApi } from '../../../support/hub-api.ts';

const REF = { name: 'texts', version: '3', digest: 'f'.repeat(64) };
const input = (text: string): TaskInput => ({ contentType: 'text/plain', body: Buffer.from(text) });
const TOKEN = { id: 1, text: 'a', logprob: 0, special: false };

function start(
  infer: (request: InferenceRequest) => Promise<unknown>,
  { task = 'text-classification', admission = ADMITS_EVERY_KEY } = {} as {
    task?: TaskName;
    admission?: KeyAdmission;
  },
) {
  const clock = new FakeClock();
  const usage: UsageLine[] = [];
  const requests: InferenceRequest[] = [];
  const asking = new HttpAsking({
    admission,
    models: { resolve: () => ({ folder: '', ref: REF, task }) },
    inferencer: {
      async infer(request): Promise<InferenceReply> {
        requests.push(request);
        const output = await infer(request);
        return { output, model: REF, timingsMs: { queue: 1, preprocess: 2, inference: 3 } };
      },
    },
    usage: { record: (line) => usage.push(line) },
    clock,
  });
  const ask = (question: Partial<Question> = {}) =>
    asking.ask({
      who: { id: 'app', scopes: ['infer'] },
      requestId: 'r',
      model: 'texts',
      inputs: [input('a')],
      arrivedMonoMs: clock.nowMonoMs(),
      expiresMs: 60_000,
      ...question,
    });
  return { ask, clock, usage, requests };
}

describe('a question over HTTP', () => {
  it('asks for each element, and answers in their order', async () => {
    const { ask, requests, usage, clock } = start(async ({ input: { body } }) => String(body));
    const arrivedMonoMs = clock.nowMonoMs();
    const replies = await ask({ inputs: [input('one'), input('three')] });
    assert.deepEqual(
      replies.map(({ output }) => output),
      ['one', 'three'],
    );
    assert.deepEqual(
      requests.map(({ deadlineMonoMs, expiresMonoMs }) => [
        deadlineMonoMs - arrivedMonoMs,
        expiresMonoMs - arrivedMonoMs,
      ]),
      [
        [2_000, 60_000],
        [2_000, 60_000],
      ],
    );
    assert.deepEqual(usage, [
      { atMs: clock.nowAtMs(), who: 'app', requestId: 'r', model: REF, inputBytes: 3, inferenceMs: 3 },
      { atMs: clock.nowAtMs(), who: 'app', requestId: 'r.1', model: REF, inputBytes: 5, inferenceMs: 3 },
    ]);
  });

  it('fails only when all elements have ended, and counts those that were answered', async () => {
    let letGo = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const { ask, usage } = start(async ({ input: { body } }) => {
      if (String(body) === 'bad') throw new AppError('INPUT_INVALID');
      await slow;
      return 'fine';
    });
    const asked = ask({ inputs: [input('bad'), input('slow')] });
    let hasEnded = false;
    const ended = assert.rejects(asked, { code: 'INPUT_INVALID' }).then(() => {
      hasEnded = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(hasEnded, false);
    letGo();
    await ended;
    assert.deepEqual(
      usage.map(({ requestId }) => requestId),
      ['r.1'],
    );
  });

  it('costs nothing when its key is refused', async () => {
    const asked: unknown[] = [];
    const admission: KeyAdmission = {
      async refuses(who, what) {
        asked.push([who.id, what]);
        return { code: 'RATE_LIMITED', message: 'no more today', retryAfterMs: 5_000 };
      },
    };
    const { ask, usage, requests } = start(async () => 'never', { admission });
    await assert.rejects(ask({ inputs: [input('a'), input('bc')] }), {
      code: 'RATE_LIMITED',
      message: 'no more today',
      details: { retryAfterMs: 5_000 },
    });
    assert.deepEqual(asked, [['app', { model: REF, elements: 2, inputBytes: 3 }]]);
    assert.deepEqual([requests, usage], [[], []]);
  });

  it('ends with its caller where it generates, and runs on where it takes milliseconds', async () => {
    const { signal } = new AbortController();
    for (const [task, heeds] of [
      ['text-generation', true],
      ['text-classification', false],
    ] as const) {
      const { ask, requests } = start(async () => 'text', { task });
      await ask({ signal });
      assert.equal(requests[0]?.signal, heeds ? signal : undefined);
    }
  });

  it('counts the tokens of a caller who leaves in the middle, and nothing of one who had none', async () => {
    for (const tokens of [0, 1]) {
      const leaving = new AbortController();
      const { ask, usage, clock } = start(
        async ({ onToken }) => {
          for (let i = 0; i < tokens; i++) onToken?.(TOKEN, false);
          await clock.advance(40);
          leaving.abort();
          throw new AppError('EXPIRED');
        },
        { task: 'text-generation' },
      );
      const heard: unknown[] = [];
      const question = { signal: leaving.signal, onToken: (token: unknown) => heard.push(token) };
      await assert.rejects(ask(question), { code: 'EXPIRED' });
      assert.equal(heard.length, tokens);
      assert.deepEqual(
        usage.map(({ model, inferenceMs }) => [model, inferenceMs]),
        tokens === 0 ? [] : [[REF, 40]],
      );
    }
  });
});

describe('a key whose quota is used up', () => {
  it('is told so by every face, each in its own shape', async () => {
    const admission: KeyAdmission = {
      refuses: async () => ({ code: 'RATE_LIMITED', message: 'no more today', retryAfterMs: 5_000 }),
    };
    const hub = await startHubApi({ admission });
    try {
      const key = hub.inferKey;
      const element = { name: 'text', datatype: 'BYTES', shape: [1], data: ['good'] };
      const answers = [
        await asker(hub)('POST', '/v2/models/texts/infer', { key, json: { inputs: [element] } }),
        await asker(hub)('POST', '/hf/models/texts', { key, json: { inputs: 'good' } }),
      ];
      for (const answer of answers) {
        assert.equal(answer.status, 429);
        assert.equal(answer.headers.get('retry-after'), '5');
        assert.equal(((await answer.json()) as { error: string }).error, 'no more today');
      }
      assert.deepEqual([hub.asked, hub.usage], [[], []]);
    } finally {
      await hub.stop();
    }
  });
});
