/**
 * Hugging Face's task API: `POST /hf/models/{model}` with raw picture bytes, plain text, or `{"inputs", "parameters"}`;
 * the task's standard output comes back, in the shape that the official clients check for.
 */
import { Hono } from 'hono';
import { readInput } from '../../shared/contract/http-input.ts';
import { DEFAULT_DEADLINE_MS, MAX_IMAGE_BYTES, MAX_TEXT_BYTES } from '../../shared/contract/limits.ts';
import { modelName } from '../../shared/contract/names.ts';
import { TASKS, type TaskName } from '../../shared/contract/tasks.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Inferencer, KeyBook, ModelCatalog, UsageLedger } from '../ports.ts';
import type { BodyReader } from './body.ts';
import { type HubEnv, requireScope } from './face.ts';

export interface HuggingFaceOptions {
  readonly keys: KeyBook;
  readonly catalog: ModelCatalog;
  readonly inferencer: Inferencer;
  readonly usage: UsageLedger;
  readonly bodies: BodyReader;
  readonly clock: Clock;
}

/** An HTTP caller's time-out is its expiry: the clients of Hugging Face wait a minute. */
const EXPIRES_MS = 60_000;
/** JSON around the input: base64 makes a picture larger by a third, escapes a text up to six times. */
const MAX_BODY_BYTES = { image: MAX_IMAGE_BYTES * 1.4, text: MAX_TEXT_BYTES * 6 } as const;

export function createHuggingFaceApi(options: HuggingFaceOptions): Hono<HubEnv> {
  const { keys, catalog, inferencer, usage, bodies, clock } = options;
  const app = new Hono<HubEnv>();
  app.use(requireScope(keys, 'infer'));
  app.post('/models/:model{.+}', async (c) => {
    const arrivedMonoMs = clock.nowMonoMs();
    const name = modelName.safeParse(c.req.param('model'));
    if (!name.success) throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
    const { task } = catalog.resolve(name.data);
    const maxBytes = Math.floor(MAX_BODY_BYTES[TASKS[task].inputKind]);
    return bodies.with(c.req.raw, maxBytes, async (body) => {
      const input = readInput(task, body, c.req.header('content-type'));
      checkSize(task, input.body.length);
      const reply = await inferencer.infer({
        model: name.data,
        input,
        deadlineMonoMs: arrivedMonoMs + DEFAULT_DEADLINE_MS,
        expiresMonoMs: arrivedMonoMs + EXPIRES_MS,
      });
      const { queue, preprocess, inference } = reply.timingsMs;
      usage.record({
        atMs: clock.nowAtMs(),
        who: c.get('holder').id,
        requestId: c.get('requestId'),
        model: reply.model,
        inputBytes: input.body.length,
        inferenceMs: inference,
      });
      c.header('x-outrider-model', `${reply.model.name}@${reply.model.version}`);
      c.header(
        'server-timing',
        `queue;dur=${queue}, preprocess;dur=${preprocess}, inference;dur=${inference}`,
      );
      return c.body(JSON.stringify(toTaskOutput(task, reply.output)), 200, {
        'content-type': 'application/json',
      });
    });
  });
  return app;
}

function checkSize(task: TaskName, bytes: number): void {
  const maxBytes = TASKS[task].inputKind === 'image' ? MAX_IMAGE_BYTES : MAX_TEXT_BYTES;
  if (bytes > maxBytes) throw new AppError('INPUT_TOO_LARGE', `the input is over ${maxBytes} bytes`);
}

/** Text classification answers a list of inputs, even for one: huggingface.js and huggingface_hub both read `[0]`. */
function toTaskOutput(task: TaskName, output: unknown): unknown {
  switch (task) {
    case 'text-classification':
      return [output];
    case 'image-classification':
      return output;
  }
}
