import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openRedaction, type Redactable } from '../../../../agent/privacy/redaction.ts';
import type { Answer } from '../../../../shared/contract/result.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import type { TaskName } from '../../../../shared/tasks/tasks.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';

const open = (config: readonly Redactable[], task: TaskName = 'text-classification') =>
  openRedaction(config, { task, at: 'redact' });

test('takes out addresses, cards and numbers of phones, and leaves dates, prices and order numbers', () => {
  const { text } = bound(open(['email', 'card', { phone: 'US' }]));
  const cases: readonly (readonly [string, string])[] = [
    ['write to anna.k+x@mail.example.co.uk today', 'write to [email] today'],
    ['an@b, @home and a@b.c stay', 'an@b, @home and a@b.c stay'],
    ['card 4111 1111 1111 1111, 4111-1111-1111-1111 or 378282246310005.', 'card [card], [card] or [card].'],
    ['4111 1111 1111 1112 fails its check digit', '4111 1111 1111 1112 fails its check digit'],
    ['call +49 30 901820 or (415) 555-2671', 'call [phone] or [phone]'],
    ['on 30 November 2026, for 1,299.00 USD', 'on 30 November 2026, for 1,299.00 USD'],
    ['größe@möbel.example und 👍 bleibt', '[email] und 👍 bleibt'],
    ['', ''],
  ];
  for (const [given, expected] of cases) assert.equal(text(given), expected);
});

test('without a country only numbers with their country code are known', () => {
  const { text } = bound(open(['phone']));
  assert.equal(text('+1 415 555 2671 and (415) 555-2671'), '[phone] and (415) 555-2671');
});

test('expressions of one’s own stand in for what they find, whatever overlaps', () => {
  const { text } = bound(
    open([
      { pattern: '\\bK-\\d{6}\\b', as: 'customer' },
      { pattern: 'K-\\d{3}', as: 'short' },
      { pattern: 'x*', as: 'nothing' },
    ]),
  );
  assert.equal(text('for K-123456, K-12 and K-999'), 'for [customer], K-12 and [short]');
});

test('an expression that would hold a backtracking engine up for ever takes no time', () => {
  const { text } = bound(open([{ pattern: '(a+)+$', as: 'a' }]));
  const long = `${'a'.repeat(100_000)}b`;
  assert.equal(text(long), long);
});

test('what is no expression of RE2, and no country, is refused with its place', () => {
  const refused = (config: Redactable, message: RegExp): void =>
    assert.throws(
      () => open(['email', config]),
      (error) => isAppError(error, 'CONFIG_INVALID') && message.test(error.message),
    );
  refused({ pattern: '(', as: 'a' }, /^redact\.1\.pattern: /);
  refused({ pattern: '(?=a)', as: 'a' }, /^redact\.1\.pattern: /);
  refused({ phone: 'XX' }, /^redact\.1\.phone: no country has the code XX$/);
});

test('where an answer names places in the text, the text stays as long as it was', () => {
  const redactor = open(['email'], 'token-classification');
  assert.equal(redactor.text('👍 to anna@example.com now'), '👍 to **************** now');
});

test('texts in a JSON input, and in an answer, are taken out wherever they stand; bytes stay', () => {
  const redactor = open(['email'], 'question-answering');
  const asked = { inputs: { question: 'Who is a@example.com?', context: 'b@example.com', more: [1, null] } };
  const { body, contentType } = redactor.input({
    contentType: 'application/json',
    body: Buffer.from(JSON.stringify(asked)),
  });
  assert.deepEqual(JSON.parse(Buffer.from(body).toString()), {
    inputs: { question: 'Who is *************?', context: '*************', more: [1, null] },
  });
  assert.equal(contentType, 'application/json');
  const answer = localAnswer([{ word: 'a@example.com', score: 0.5 }]);
  assert.deepEqual(redactor.result(answer), localAnswer([{ word: '*************', score: 0.5 }]));

  const bytes = { contentType: 'image/jpeg', body: Buffer.from('a@example.com') };
  assert.equal(open(['email'], 'image-classification').input(bytes), bytes);
});

test('whatever the text, nothing of an address is left, and the rest is as it was', () => {
  const { text } = bound(open(['email']));
  fc.assert(
    fc.property(fc.array(fc.constantFrom('anna@example.com', ' ', 'word', '👍', '\n', '.,')), (parts) => {
      const given = parts.join(' ');
      assert.equal(text(given), parts.map((one) => (one === 'anna@example.com' ? '[email]' : one)).join(' '));
    }),
  );
});

function localAnswer(output: unknown): Answer {
  return {
    ...{ id: 'a'.repeat(36), pipeline: 'text', task: 'token-classification', output, source: 'edge' },
    ...{ provisional: false, model: EDGE_MODEL, agreement: null, reason: 'confident', input: null, atMs: 0 },
    timingsMs: { preprocess: 0, inference: 0, queue: null, network: null, total: 0 },
  };
}

function bound(redactor: ReturnType<typeof open>) {
  return { text: (given: string): string => redactor.text(given) };
}
