/**
 * Hugging Face's task API: `POST /hf/models/{model}` with raw picture bytes, plain text, or `{"inputs", "parameters"}`;
 * the task's standard output comes back, in the shape that the official clients check for.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import { z } from 'zod';
import { jsonBody, readInput } from '../../shared/contract/http-input.ts';
import { DEFAULT_DEADLINE_MS } from '../../shared/contract/limits.ts';
import { classification } from '../../shared/contract/task-schemas.ts';
import { type InputKind, MAX_INPUT_BYTES, TASKS, type TaskName } from '../../shared/contract/tasks.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Inferencer, ModelCatalog, UsageLedger } from '../ports.ts';
import type { BodyReader } from './body.ts';
import { type Api, anyBytes, json, modelOf, mount, type Operation } from './endpoint.ts';
import type { Guards } from './guards.ts';

export interface HuggingFaceOptions {
  readonly guards: Guards;
  readonly catalog: ModelCatalog;
  readonly inferencer: Inferencer;
  readonly usage: UsageLedger;
  readonly bodies: BodyReader;
  readonly clock: Clock;
}

/** An HTTP caller's time-out is its expiry: the clients of Hugging Face wait a minute. */
const EXPIRES_MS = 60_000;
/** JSON around the input: base64 makes a picture larger by a third, escapes a text up to six times. */
const JSON_GROWTH: Readonly<Record<InputKind, number>> = {
  image: 1.4,
  audio: 1.4,
  text: 6,
  json: 6,
  tensors: 1,
};

/** A text's labels stand in a list of inputs, a picture's do not. */
const output = z.union([z.array(classification), z.array(z.array(classification))]);

export function createHuggingFaceApi(options: HuggingFaceOptions): Api {
  const { guards, catalog, inferencer, usage, bodies, clock } = options;
  const app: Api = new OpenAPIHono();
  const operation: Operation = {
    ...{ method: 'post', path: '/models/{model}', tag: 'Hugging Face', errors: 'hugging-face' },
    summary: 'Runs a model on a picture or a text',
    guard: guards.key('infer'),
    body: { 'application/json': jsonBody, 'application/octet-stream': anyBytes, 'text/plain': anyBytes },
    responses: { 200: json('The task’s standard output', output) },
  };
  mount(app, operation, async (c) => {
    const arrivedMonoMs = clock.nowMonoMs();
    const name = modelOf(c);
    const { task } = catalog.resolve(name);
    const { inputKind } = TASKS[task];
    const maxBytes = Math.floor(MAX_INPUT_BYTES[inputKind] * JSON_GROWTH[inputKind]);
    return bodies.with(c.req.raw, maxBytes, async (body) => {
      const input = readInput(task, body, c.req.header('content-type'));
      checkSize(task, input.body.length);
      const reply = await inferencer.infer({
        model: name,
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
  const maxBytes = MAX_INPUT_BYTES[TASKS[task].inputKind];
  if (bytes > maxBytes) throw new AppError('INPUT_TOO_LARGE', `the input is over ${maxBytes} bytes`);
}

/** Text classification answers a list of inputs, even for one: huggingface.js and huggingface_hub both read `[0]`. */
function toTaskOutput(task: TaskName, output: unknown): unknown {
  return task === 'text-classification' ? [output] : output;
}
