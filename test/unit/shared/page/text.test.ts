import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as page from '../../../../shared/page/text.js';
import { EDGE_MODEL } from '../../../support/fixed.ts';
import { EVIDENCE } from '../../../support/fleet-evidence.ts';
import { ANSWERS } from '../tasks/answers.ts';

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
  const word = (token_str: string) => ({ token_str, token: 1, score: 0.5, sequence: 'a' });
  assert.deepEqual(page.topAnswer([[word(' film')], [word('good'), word('bad')]]), {
    label: 'film, good',
    score: null,
  });
  assert.deepEqual(page.topAnswer({ label: 'cat' }), { label: 'cat', score: null });
  assert.deepEqual(page.topAnswer({ answer: 42 }), { label: '{"answer":42}', score: null });
  for (const nothing of [null, [], 'text', 5, [null], [{ label: 5 }]])
    assert.equal(page.topAnswer(nothing).label, JSON.stringify(nothing));
  assert.equal(page.topAnswer(undefined).label, '–');
  assert.equal(page.topAnswer([{ label: 'x'.repeat(500), score: 1 }]).label.length, 80);
});

test('each task’s answer is one short line', () => {
  const box = { xmin: 0, ymin: 0, xmax: 1, ymax: 1 };
  const boxes = [0.981, 0.91, 0.8, 0.7].map((score) => ({ label: 'dog', score, box }));
  for (const [output, label, score = null] of [
    [boxes, '4 boxes: dog 0.98, dog 0.91, dog 0.80, …'],
    [boxes.slice(0, 1), '1 box: dog 0.98'],
    [
      [
        { word: 'Ada', entity_group: 'PER', score: 1 },
        { word: 'London', entity: 'B-LOC' },
      ],
      'Ada PER, London B-LOC',
    ],
    [[{ answer: 'in 1815', score: 0.7, start: 0, end: 7 }], 'in 1815', 0.7],
    [[{ answer: '', score: 0.7, start: 0, end: 0 }], 'no answer', 0.7],
    [[{ token_str: ' film', token: 1, score: 0.5, sequence: 'a film' }], 'film', 0.5],
    [[[1, 2, 3]], '1 × 3 numbers'],
    [[{ name: 'y', datatype: 'FP32', shape: [1, 10], data: [] }], 'y FP32[1,10]'],
    [{ translation_text: 'Zwei Hunde.' }, 'Zwei Hunde.'],
    [{ summary_text: 'Short.' }, 'Short.'],
    [{ generated_text: ' ' }, '(nothing)'],
    [{ text: 'hello', chunks: [] }, 'hello'],
  ] as const)
    assert.deepEqual(page.topAnswer(output), { label, score });
});

test('an answer of every task has its words', () => {
  for (const { example, line } of Object.values(ANSWERS)) assert.equal(page.topAnswer(example).label, line);
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
  const said = (update: object) =>
    plain(page.updateText({ ...base, ...update } as Parameters<typeof page.updateText>[0]));
  assert.equal(said({ phase: 'downloading' }), 'downloading, 1.0 kB of 4.0 kB');
  const small = { wireBytes: 100, wireTotalBytes: 200, savedBytes: 3_800 };
  assert.equal(
    said({ phase: 'downloading', ...small }),
    'downloading, 100 B of 200 B, all that differs in 4.0 kB',
  );
  assert.equal(said({ phase: 'committed', ...small }), 'in use, 100 B came of 4.0 kB');
  assert.equal(said({ phase: 'trial' }), 'on trial, 1 answer so far');
  assert.equal(said({ phase: 'committed' }), 'in use');
  assert.equal(said({ phase: 'committed', test: 'smoke' }), 'in use, without golden inputs');
  assert.equal(said({ phase: 'rolled-back' }), 'refused');
  assert.equal(said({ phase: 'of a newer agent' }), 'of a newer agent');
});

test('a promise says what is promised, by what it stands, and what went wrong', () => {
  const promise = { agreement: 0.98, confidence: 0.95, scope: 'all', labels: [] } as const;
  assert.equal(
    plain(page.promiseText({ ...promise, labels: [] })),
    '98 % of the answers as the cloud’s, with 95 % confidence',
  );
  assert.match(page.promiseText({ ...promise, labels: [], scope: 'local' }), /of the local answers/);
  const bases = ['certificate', 'evidence', 'learning', 'drift', 'none'] as const;
  assert.deepEqual(
    bases.map((basis) => page.basisText({ basis, evidence: 1_200 })),
    [
      'certificate of 1,200 pairs',
      'evidence of 1,200 requests',
      'learning: asks about all, 1,200 so far',
      'drift: asks about all again, 1,200 so far',
      'not by score',
    ],
  );
  assert.equal(
    page.basisText({ basis: 'certificate', source: 'fleet', devices: 21, evidence: 40_000 }),
    'certificate of the fleet: 21 devices, 40,000 requests',
  );
  assert.equal(
    page.basisText({ basis: 'certificate', source: 'version', evidence: 900 }),
    'certificate of 900 pairs',
  );
  assert.deepEqual(
    [null, -5e8, 1.234].map((threshold) => page.thresholdText({ threshold })),
    ['nothing yet', 'any score', 'score 1.23'],
  );
  assert.deepEqual(
    [null, { agreement: 0.991, atLeast: 0.982 }, { agreement: 1, atLeast: 0 }].map((one) =>
      plain(page.estimateText(one)),
    ),
    ['nothing known yet', '99.1 %, at least 98.2 %', '100 %, too few audits to say at least how much'],
  );
  const alarm = { kind: 'disagreement', label: 'cat', atMs: 1, requests: 1_500, unanswered: 0 } as const;
  assert.equal(
    page.alarmText(alarm),
    'local answers of cat are wrong more often than promised, after 1,500 requests',
  );
  assert.equal(
    page.alarmText({ ...alarm, kind: 'inputs', label: null }),
    'other inputs, after 1,500 requests',
  );
  assert.deepEqual([page.shareText(0, 0), plain(page.shareText(1, 4))], ['–', '25.0 %']);
});

test('evidence says of what, by how many devices, and how old it is', () => {
  assert.equal(
    page.evidenceText(EVIDENCE, 121_000),
    'of 3 versions by 12 devices (the oldest word 2 min ago), of 1 pair of models by 9 devices (the oldest word 60 s ago)',
  );
  const none = { devices: 0, subjects: 0, oldestAtMs: null };
  assert.equal(page.evidenceText({ versions: none, pairs: none, known: [] }, 0), '');
  const one = { devices: 1, subjects: 1, oldestAtMs: null };
  assert.equal(page.evidenceText({ versions: one, pairs: none, known: [] }, 0), 'of 1 version by 1 device');
});

test('masks and depths are shown as the pictures that they are: few, and none that is large', () => {
  const mask = (label: string, length: number) => ({ label, score: 0.9, mask: 'A'.repeat(length) });
  assert.deepEqual(page.mapsOf([mask('sky', 8), mask('road', 200_001), mask('car', 4), mask('tree', 4)]), [
    { name: 'sky', png: 'AAAAAAAA' },
    { name: 'car', png: 'AAAA' },
  ]);
  assert.deepEqual(page.mapsOf({ depth: 'AAAA', min: 0, max: 1 }), [{ name: 'depth', png: 'AAAA' }]);
  for (const output of [null, 'a mask', [{ label: 'cat', score: 1 }], [[0.1, 0.2]], { mask: 7 }])
    assert.deepEqual(page.mapsOf(output), []);
});
