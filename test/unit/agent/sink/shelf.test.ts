import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Shelf } from '../../../../agent/sink/shelf.ts';

const input = (bytes: number) => ({ contentType: 'image/jpeg', body: new Uint8Array(bytes) });

test('the newest inputs stay: 64 of them, and 64 MiB', () => {
  const shelf = new Shelf();
  for (let i = 0; i < 100; i++) shelf.put(`id-${i}`, input(10));
  assert.equal(shelf.get('id-35'), undefined);
  assert.equal(shelf.get('id-36')?.body.length, 10);
  for (let i = 0; i < 3; i++) shelf.put(`large-${i}`, input(30 * 1024 * 1024));
  assert.equal(shelf.get('large-0'), undefined);
  assert.ok(shelf.get('large-1') && shelf.get('large-2'));
  shelf.put('too large', input(65 * 1024 * 1024));
  assert.equal(shelf.get('too large'), undefined);
  assert.ok(shelf.get('large-2'), 'it has taken nobody’s place');
});
