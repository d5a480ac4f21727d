import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readInput } from '../../../../shared/contract/http-input.ts';
import { requestHeader } from '../../../../shared/contract/messages.ts';
import { AppError, ERRORS, isAppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { TASKS, type TaskName, taskName } from '../../../../shared/tasks/tasks.ts';

const JPEG = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 1, 2, 3]);
const textOf = (body: string | Uint8Array, contentType?: string): string =>
  Buffer.from(readInput('text-classification', Buffer.from(body), contentType).body).toString();

test('a text may begin with a brace, and JSON may come without saying so', () => {
  assert.equal(textOf('{not JSON', 'text/plain'), '{not JSON');
  assert.equal(textOf('{"inputs": "ein Satz"}', 'text/plain'), 'ein Satz');
  assert.throws(
    () => textOf('not JSON', 'application/json'),
    (error) => isAppError(error, 'BAD_REQUEST'),
  );
});

test('a picture may come as base64 in JSON, with or without a data URL around it', () => {
  for (const prefix of ['', 'data:image/jpeg;base64,']) {
    const body = Buffer.from(JSON.stringify({ inputs: prefix + JPEG.toString('base64') }));
    assert.deepEqual(readInput('image-classification', body, 'application/json').body, JPEG);
  }
});

const bodyOf = (task: TaskName, json: unknown): unknown =>
  JSON.parse(Buffer.from(readInput(task, Buffer.from(JSON.stringify(json)), undefined).body).toString());

test('a question comes with its context, as JSON whatever the content type says', () => {
  const inputs = { question: 'Who?', context: 'Ada did.' };
  assert.deepEqual(bodyOf('question-answering', { inputs }), inputs);
  const refused = (body: string, code: 'INPUT_INVALID' | 'BAD_REQUEST'): void =>
    assert.throws(
      () => readInput('question-answering', Buffer.from(body), 'text/plain'),
      (error) => isAppError(error, code),
    );
  refused(JSON.stringify({ inputs: { question: 'Who?' } }), 'INPUT_INVALID');
  refused(JSON.stringify({ inputs: 'Who?' }), 'INPUT_INVALID');
  refused(JSON.stringify(inputs), 'BAD_REQUEST');
  refused('Who?', 'BAD_REQUEST');
});

test('tensors come by name, or as nested numbers', () => {
  const named = [{ name: 'x', datatype: 'FP32', shape: [2], data: [1, 2] }];
  assert.deepEqual(bodyOf('tensor', { inputs: named }), named);
  assert.deepEqual(bodyOf('tensor', { inputs: [[1, 2]] }), [[1, 2]]);
});

test('feature extraction has its parameters beside the inputs, or where other tasks have them', () => {
  for (const body of [
    { inputs: 'a', normalize: true },
    { inputs: 'a', parameters: { normalize: true } },
  ])
    assert.deepEqual(
      readInput('feature-extraction', Buffer.from(JSON.stringify(body)), undefined).parameters,
      { normalize: true },
    );
});

test('a task that cannot do without parameters says so', () => {
  assert.throws(
    () => readInput('zero-shot-classification', Buffer.from('{"inputs": "a"}'), undefined),
    (error) => isAppError(error, 'PARAMETERS_INVALID') && /candidate_labels/.test(error.message),
  );
});

test('a content type that no message could carry is not passed on', () => {
  const long = `image/${'x'.repeat(300)}`;
  assert.equal(
    readInput('image-classification', JPEG, long).contentType,
    readInput('image-classification', JPEG, undefined).contentType,
  );
});

test('whatever is sent, it is refused by a code of the caller’s, or fits into a request for the hub', () => {
  const tasks: readonly TaskName[] = taskName.options;
  const jsonBody = fc
    .record({ inputs: fc.anything(), parameters: fc.anything() }, { requiredKeys: [] })
    .map((value) => Buffer.from(JSON.stringify(value) ?? ''));
  const contentType = fc.oneof(
    fc.constantFrom(undefined, 'application/json', 'application/json; charset=utf-8', 'image/png', ''),
    fc.nat(400).map((length) => `image/${'x'.repeat(length)}`),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...tasks),
      fc.oneof(fc.uint8Array({ maxLength: 200 }), jsonBody),
      contentType,
      (task, body, type) => {
        try {
          const input = readInput(task, body, type);
          const { contentType: given, parameters } = input;
          const header = { id: newId(), pipeline: 'p', model: 'm', task, deadlineMs: 1, expiresMs: 1 };
          requestHeader.parse({ ...header, contentType: given, ...(parameters && { parameters }) });
          assert.ok(input.body.length > 0);
        } catch (error) {
          assert.ok(error instanceof AppError && ERRORS[error.code].kind === 'caller', String(error));
        }
      },
    ),
  );
});

test('a body without inputs is told how each task writes its input', () => {
  for (const [task, { inputs }] of Object.entries(TASKS))
    assert.throws(
      () => readInput(task as TaskName, Buffer.from('{"x": 1}'), 'application/json'),
      (error) => {
        assert.ok(isAppError(error, 'BAD_REQUEST'));
        const [, form] = /\{"inputs": (.+), "parameters"\?: object\}$/.exec(error.message) ?? [];
        assert.equal(form === 'string', inputs === undefined, `${task}: ${form}`);
        return true;
      },
    );
});
