import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import {
  AppError,
  ERROR_CODES,
  ERRORS,
  isAppError,
  isDiskFull,
  systemCode,
  toAppError,
  toErrorBody,
  unreadable,
} from '../../../../shared/runtime/errors.ts';

const systemError = (code: string): Error => Object.assign(new Error(`${code}: it failed`), { code });

test('the kind of a failure says whose turn it is, and fits its status', () => {
  for (const code of ERROR_CODES) {
    const { kind, retry, httpStatus, meaning, remedy } = ERRORS[code];
    if (kind === 'caller') {
      assert.equal(retry, 'never', `${code}: asking the same again cannot help`);
      // RFC 9110, 15.6.2: 501 is for what a server does not offer, whoever asks.
      assert.ok((httpStatus >= 400 && httpStatus < 500) || httpStatus === 501, code);
    }
    if (kind === 'bug') assert.deepEqual([code, httpStatus, retry], ['INVARIANT_BROKEN', 500, 'never']);
    if (kind === 'world') assert.ok(httpStatus >= 400 && httpStatus < 600, code);
    for (const sentence of [meaning, remedy]) assert.match(sentence, /^[A-Z].*\.$/, code);
  }
});

test('an error has its code, its sentence, what caused it and facts', () => {
  const cause = systemError('EACCES');
  const error = new AppError('FILE_UNREADABLE', 'the file a.jpg cannot be read', {
    cause,
    details: { size: 3 },
  });
  assert.deepEqual(
    [error.name, error.code, error.message, error.cause, error.details],
    ['AppError', 'FILE_UNREADABLE', 'the file a.jpg cannot be read', cause, { size: 3 }],
  );
  const plain = new AppError('EXPIRED');
  assert.equal(plain.message, ERRORS.EXPIRED.meaning);
  assert.ok(!('cause' in plain));
});

test('a message quotes others up to a bound: neither a log nor an answer grows with what was sent', () => {
  const { message } = new AppError('BAD_REQUEST', `unknown: ${'name, '.repeat(100_000)}`);
  assert.equal(message.length, 4_000);
  assert.match(message, /^unknown: name, [^…]+…$/);
});

test('an error is known by its code, and by nothing that only looks like it', () => {
  const error = new AppError('EXPIRED');
  assert.ok(isAppError(error) && isAppError(error, 'EXPIRED'));
  assert.ok(!isAppError(error, 'STOPPING'));
  for (const other of [new Error('EXPIRED'), { code: 'EXPIRED' }, 'EXPIRED', undefined])
    assert.ok(!isAppError(other));
});

test('what the system says is its own code, with the path, and whose fault it is', () => {
  const made = Object.entries({
    EACCES: 'ACCESS_DENIED',
    EPERM: 'ACCESS_DENIED',
    EROFS: 'ACCESS_DENIED',
    ENXIO: 'CONNECTION_LOST',
    EAGAIN: 'CONNECTION_LOST',
    ENOENT: 'PATH_INVALID',
    ENOTDIR: 'PATH_INVALID',
    ENAMETOOLONG: 'PATH_INVALID',
    EISDIR: 'NOT_A_FILE',
    EMFILE: 'TOO_MANY_FILES',
    ENFILE: 'TOO_MANY_FILES',
    EIO: 'DISK_FAILED',
    EAI_AGAIN: 'NAME_UNRESOLVED',
    ECONNREFUSED: 'CONNECTION_LOST',
    EPIPE: 'CONNECTION_LOST',
    ENOSPC: 'DISK_FULL',
  }).map(([system, code]) => {
    const error = Object.assign(systemError(system), { path: '/data/agent', syscall: 'open' });
    const known = toAppError(error);
    assert.deepEqual([known.code, known.cause], [code, error]);
    assert.match(known.message, new RegExp(`^/data/agent: .+ \\(${system}, open\\)$`));
    return known;
  });
  for (const known of made.filter(({ code }) => !['NOT_A_FILE', 'DISK_FULL'].includes(code)))
    assert.doesNotMatch(toErrorBody(known).message, /data/, 'paths are for the log and the terminal');
});

test('a host that is not known to DNS is called that', async () => {
  const error = await lookup('no-such-host.invalid').catch((thrown: unknown) => thrown);
  const { code, message } = toAppError(error);
  assert.equal(code, 'NAME_UNRESOLVED');
  assert.match(message, /no-such-host\.invalid: /);
});

test('what has no code of ours is our bug, but for a full disk', () => {
  const known = new AppError('STOPPING');
  assert.equal(toAppError(known), known);
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const error = systemError(code);
    assert.ok(isDiskFull(error));
    assert.deepEqual([toAppError(error).code, toAppError(error).cause], ['DISK_FULL', error]);
  }
  for (const thrown of [
    new TypeError('x is not a function'),
    systemError('EUNHEARDOF'),
    'a string',
    undefined,
  ]) {
    assert.ok(!isDiskFull(thrown));
    const made = toAppError(thrown);
    assert.deepEqual([made.code, made.cause], ['INVARIANT_BROKEN', thrown]);
  }
});

test('the face of a failure never shows what our own mistakes say', () => {
  assert.deepEqual(toErrorBody(new AppError('IMAGE_CORRUPT', 'not a picture')), {
    code: 'IMAGE_CORRUPT',
    message: 'not a picture',
  });
  for (const bug of [new AppError('INVARIANT_BROKEN', 'the secret'), new TypeError('the secret')])
    assert.deepEqual(toErrorBody(bug), {
      code: 'INVARIANT_BROKEN',
      message: ERRORS.INVARIANT_BROKEN.meaning,
    });
});

test('the code of a system error is read from errors only', () => {
  assert.equal(systemCode(systemError('ENOENT')), 'ENOENT');
  for (const other of [
    new Error('no code'),
    { code: 'ENOENT' },
    Object.assign(new Error('x'), { code: 5 }),
    null,
  ])
    assert.equal(systemCode(other), undefined);
});

test('a file that cannot be read is told with the system’s reason', async () => {
  const error = await readFile(tmpdir()).catch((thrown: unknown) => thrown);
  const told = unreadable('the key /k', error);
  assert.deepEqual(
    [told.code, told.message],
    ['FILE_UNREADABLE', 'the key /k cannot be read: it is a folder'],
  );
  assert.equal(unreadable('/k', new Error('odd')).message, '/k cannot be read');
});
