import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EDGE_MODEL } from '../../support/fixed.ts';

/** The page's own file: the browser's types are checked apart (tsconfig.page.json). */
interface PageText {
  bytesText(bytes: number): string;
  agoText(atMs: number, nowAtMs: number): string;
  percentText(ratio: number | null): string;
  linkTexts(use: readonly { upBytes: number; downBytes: number }[]): [string, string];
  topAnswer(output: unknown): { label: string; score: number | null };
  updateText(update: object): string;
}
const page = (await import(new URL('../../../shared/page/text.js', import.meta.url).href)) as PageText;

/** Numbers and units stay on one line. */
const plain = (text: string): string => text.replaceAll('\u00a0', ' ');

test('numbers are short and honest', () => {
  assert.deepEqual([0, 999, 1_000, 5_123_456, 2.5e9].map(page.bytesText).map(plain), [
    '0 B',
    '999 B',
    '1.0 kB',
    '5.1 MB',
    '2.50 GB',
  ]);
  assert.deepEqual(
    [-5_000, 0, 89_000, 3_000_000, 7_200_000, 200_000_000].map((ms) => page.agoText(0, ms)),
    ['0 s ago', '0 s ago', '89 s ago', '50 min ago', '2 h ago', '2 days ago'],
  );
  assert.deepEqual([null, 0, 0.973, 0.99999, 1].map(page.percentText).map(plain), [
    '–',
    '0.0 %',
    '97.3 %',
    '99.9 %',
    '100 %',
  ]);
  const use = [
    { upBytes: 1_000, downBytes: 1 },
    { upBytes: 500, downBytes: 2 },
  ];
  assert.deepEqual(page.linkTexts(use).map(plain), ['1.5 kB up', '3 B down']);
});

test('the best label stands for an answer, and anything else is cut short', () => {
  assert.deepEqual(page.topAnswer([{ label: 'cat', score: 0.9 }, { label: 'dog' }]), {
    label: 'cat',
    score: 0.9,
  });
  assert.deepEqual(page.topAnswer({ label: 'cat' }), { label: 'cat', score: null });
  assert.deepEqual(page.topAnswer({ answer: 42 }), { label: '{"answer":42}', score: null });
  for (const nothing of [null, [], 'text', 5, [null], [{ label: 5 }]])
    assert.equal(page.topAnswer(nothing).label, JSON.stringify(nothing));
  assert.equal(page.topAnswer(undefined).label, '–');
  assert.equal(page.topAnswer([{ label: 'x'.repeat(500), score: 1 }]).label.length, 80);
});

test('an update says how far it has come', () => {
  const base = {
    model: EDGE_MODEL,
    error: null,
    test: 'golden',
    downloadedBytes: 1_000,
    totalBytes: 4_000,
    answers: 1,
  };
  const said = (update: object) => plain(page.updateText({ ...base, ...update }));
  assert.equal(said({ phase: 'downloading' }), 'downloading, 1.0 kB of 4.0 kB');
  assert.equal(said({ phase: 'trial' }), 'on trial, 1 answer so far');
  assert.equal(said({ phase: 'committed' }), 'in use');
  assert.equal(said({ phase: 'committed', test: 'smoke' }), 'in use, without golden inputs');
  assert.equal(said({ phase: 'rolled-back' }), 'refused');
  assert.equal(said({ phase: 'of a newer agent' }), 'of a newer agent');
});
