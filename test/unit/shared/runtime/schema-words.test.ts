import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import '../../../../shared/runtime/schema-words.ts';

const said = (schema: z.ZodType, value: unknown): string | undefined =>
  schema.safeParse(value).error?.issues[0]?.message;

test('a value that fits none of several forms is told what is wrong with the one that was meant', () => {
  const texts = z.union([z.string(), z.array(z.string()).max(2)]);
  assert.equal(said(texts, ['a', 'b', 'c']), 'Too big: expected array to have <=2 items');
  assert.equal(said(texts, ['a', 5]), '1: Invalid input: expected string, received number');
  assert.equal(said(texts, 5), 'Invalid input: expected string or array');
  assert.equal(
    said(z.union([z.int().min(1).max(100), z.literal('lossless')]), 'best'),
    'Invalid input: expected number or "lossless"',
  );
  assert.equal(
    said(z.union([z.int().min(1).max(100), z.literal('lossless')]), 0),
    'Too small: expected number to be >=1',
  );
  assert.equal(
    said(z.union([z.string(), z.int()], { error: 'a name or a number' }), null),
    'a name or a number',
  );
});

test('a fraction where a whole number belongs is called that', () => {
  assert.equal(said(z.int(), 1.5), 'Invalid input: expected a whole number, received 1.5');
  assert.equal(said(z.int(), 'x'), 'Invalid input: expected number, received string');
});

test('of forms of which one field says which it is, that field is told', () => {
  const feeds = z.discriminatedUnion('type', [
    z.object({ type: z.literal('folder') }),
    z.object({ type: z.literal('camera') }),
  ]);
  assert.equal(said(feeds, {}), 'Missing: expected "folder" or "camera"');
  assert.equal(said(feeds, { type: 5 }), 'Invalid input: expected "folder" or "camera"');
  assert.equal(said(feeds, { type: 'mqtt' }), 'Invalid input: expected "folder" or "camera"');
  assert.equal(
    said(feeds, { type: 'foldr' }),
    'Invalid input: expected "folder" or "camera"; did you mean “folder”?',
  );
  const [issue] = feeds.safeParse({}).error?.issues ?? [];
  assert.deepEqual(issue?.path, ['type']);
});
