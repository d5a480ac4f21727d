/** Models that run elsewhere: the graph alone, or the whole task. The batcher and everything around it stays as it is. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { Batcher } from '../../../../cloud/batcher/batcher.ts';
import { InferencerByModel } from '../../../../cloud/engine/inferencer-by-model.ts';
import type { InferenceReply, InferenceRequest, Inferencer, RunnerPool } from '../../../../cloud/ports.ts';
import type { OpenSession } from '../../../../shared/inference/runner/graph-session.ts';
import type { TaskModel } from '../../../../shared/inference/runner/task-model.ts';
import { loadImageClassification } from '../../../../shared/inference/tasks/image-classification.ts';
import { readSpec } from '../../../../shared/release/folder/model-folder.ts';
import { systemClock as clock } from '../../../../shared/runtime/clock.ts';
import { AppError, isAppError, toErrorBody } from '../../../../shared/runtime/errors.ts';
import type { TaskInput } from '../../../../shared/tasks/tasks.ts';

const FOLDER = fileURLToPath(new URL('../../../fixtures/models/colours', import.meta.url));
const REF = { name: 'colours', version: '1', digest: 'f'.repeat(64) };

const ask = (inferencer: Inferencer, model: string, input: TaskInput): Promise<InferenceReply> => {
  const nowMonoMs = clock.nowMonoMs();
  const request: InferenceRequest = {
    ...{ model, caller: 'key a', input, deadlineMonoMs: nowMonoMs, expiresMonoMs: nowMonoMs + 60_000 },
  };
  return inferencer.infer(request);
};

const plain = async (background: string): Promise<TaskInput> => ({
  contentType: 'image/png',
  body: await sharp({ create: { width: 20, height: 10, channels: 3, background } })
    .png()
    .toBuffer(),
});

/** A server of graphs: means of the planes, times eight, as the fixture's own graph. */
function graphServer(): { readonly openSession: OpenSession; readonly batches: number[] } {
  const batches: number[] = [];
  const openSession: OpenSession = async ({ executionProvider }) => ({
    inputs: [{ name: 'pixel_values', type: 'float32', dims: [null, 3, 8, 8] }],
    outputs: [{ name: 'logits', type: 'float32', dims: [null, 3] }],
    executionProvider,
    async run({ pixel_values: pixels }) {
      assert.ok(pixels?.type === 'float32');
      const count = pixels.dims[0] ?? 0;
      batches.push(count);
      const planes = pixels.data.length / (3 * count);
      const data = Float32Array.from({ length: 3 * count }, (_, plane) => {
        const values = pixels.data.subarray(plane * planes, (plane + 1) * planes);
        return (8 * values.reduce((sum, one) => sum + one, 0)) / planes;
      });
      return { logits: { type: 'float32', data, dims: [count, 3] } };
    },
  });
  return { openSession, batches };
}

/** A pool whose only runner is this process. */
function poolOf<Prepared>(model: TaskModel<Prepared>): RunnerPool {
  const waiting = new Map<number, Prepared>();
  return {
    lease: async () => ({
      ref: REF,
      maxBatchSize: model.maxBatchSize,
      async prepare(input) {
        const prepared = await model.prepare(input);
        waiting.set(waiting.size, prepared);
        return { handle: waiting.size - 1, shapeKey: model.shapeKey(prepared) };
      },
      async run(handles) {
        const batch = handles.map((handle) => waiting.get(handle) ?? assert.fail('an unknown handle'));
        const timingsMs = { preprocess: 1, inference: 1 };
        return (await model.run(batch)).map((answer) =>
          isAppError(answer)
            ? { ok: false, error: toErrorBody(answer) }
            : { ok: true, value: { ...answer, timingsMs } },
        );
      },
      discard: () => undefined,
      shrink: async (body) => body,
      isStale: () => false,
      giveBack: () => undefined,
    }),
  };
}

describe('a graph that runs elsewhere', () => {
  it('gets what we made of the picture, and we make labels of what it gives', async () => {
    const { openSession, batches } = graphServer();
    const model = await loadImageClassification({
      folder: FOLDER,
      spec: await readSpec(FOLDER),
      threads: 1,
      allowSpinning: false,
      executionProvider: 'cpu',
      openSession,
    });
    const colours = ['#ff0000', '#00ff00', '#0000ff', '#ff0000'];
    const full = { maxBatchSize: colours.length, maxQueueDelayMs: 60_000 };
    const batcher = new Batcher({ pool: poolOf(model), clock, ...full });
    const inputs = await Promise.all(colours.map(plain));
    const replies = await Promise.all(inputs.map((input) => ask(batcher, 'colours', input)));
    assert.deepEqual(
      replies.map(({ output }) => (output as { label: string }[])[0]?.label),
      ['red', 'green', 'blue', 'red'],
    );
    assert.deepEqual(batches, [1, 4], 'the first run of a model, and the batch');
    await batcher.stop();
  });

  it('says why it cannot be opened', async () => {
    const source = {
      ...{ folder: FOLDER, spec: await readSpec(FOLDER), threads: 1, allowSpinning: false },
      executionProvider: 'cpu',
      openSession: () => Promise.reject(new AppError('RUNNER_START_FAILED', 'the server of graphs is away')),
    } as const;
    await assert.rejects(loadImageClassification(source), (error) =>
      isAppError(error, 'RUNNER_START_FAILED'),
    );
  });
});

describe('a task that runs elsewhere', () => {
  const inferencer = (name: string, heard: InferenceRequest[]): Inferencer => ({
    async infer(request) {
      heard.push(request);
      if (request.input.body.length === 0) throw new AppError('QUEUE_FULL', `${name} is busy`);
      return { output: name, model: REF, timingsMs: { queue: 0, preprocess: 0, inference: 1 } };
    },
  });

  it('is asked for its own models, and nobody else is', async () => {
    const here: InferenceRequest[] = [];
    const there: InferenceRequest[] = [];
    const byModel = new InferencerByModel({
      here: inferencer('here', here),
      elsewhere: new Map([['org/large', inferencer('there', there)]]),
    });
    const input = { contentType: 'text/plain', body: Buffer.from('hello') };
    assert.equal((await ask(byModel, 'org/large', input)).output, 'there');
    assert.equal((await ask(byModel, 'small', input)).output, 'here');
    assert.deepEqual(
      [here, there].map((heard) => heard.map(({ model }) => model)),
      [['small'], ['org/large']],
    );
    const busy = ask(byModel, 'org/large', { ...input, body: Buffer.alloc(0) });
    await assert.rejects(busy, { code: 'QUEUE_FULL', message: 'there is busy' });
  });
});
