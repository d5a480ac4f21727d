import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { bytesText, table } from '../../../cli/output.ts';

const HEAD = ['device', 'state', 'pipelines'];
const ROWS = [
  ['gate-01', 'online', 'vision (cifar10-cnn@2 → cifar10-vit), text (sst2-lstm → sst2-minilm)'],
  ['gate-02', 'offline, credential ended', '–'],
];
const shown = (rows: readonly (readonly string[])[], columns?: number): string[] =>
  stripVTControlCharacters(table(HEAD, rows, {}, columns)).split('\n');

test('without a terminal, and where there is room, a row is a line', () => {
  for (const columns of [undefined, 200]) assert.equal(shown(ROWS, columns).length, 3);
});

test('in a pipe one long cell pushes no other line apart', () => {
  const long = 'the hub has refused it: '.repeat(8).trim();
  const rows = [
    ['hub', long, 'Look there.'],
    ['agent', 'ready', 'Nothing to do.'],
  ];
  assert.deepEqual(stripVTControlCharacters(table(HEAD, rows)).split('\n'), [
    'device  state  pipelines',
    `hub     ${long}  Look there.`,
    'agent   ready  Nothing to do.',
  ]);
});

test('on a narrow terminal cells go on below, broken between words, and no line is wider', () => {
  const lines = shown(ROWS, 60);
  assert.ok(lines.length > 3);
  for (const line of lines) assert.ok(Array.from(line).length <= 60, line);
  const words = lines.join(' ').split(/\s+/);
  for (const word of [...HEAD, ...ROWS.flat().flatMap((cell) => cell.split(' '))])
    assert.ok(words.includes(word), `${word} is broken`);
});

test('where not even the longest words have room, each row is a block', () => {
  assert.deepEqual(shown(ROWS, 26).slice(0, 6), [
    'device     gate-01',
    'state      online',
    'pipelines  vision',
    '           (cifar10-cnn@2',
    '           → cifar10-vit),',
    '           text (sst2-lstm',
  ]);
});

test('a narrow terminal does without spare columns, as few as need be, and says which', () => {
  const head = ['name', 'state', 'digest', 'policy'];
  const rows = [['cifar10-cnn', 'online', 'bd52ca9dbeb4', 'auto']];
  const at = (columns: number): string[] =>
    stripVTControlCharacters(table(head, rows, { spare: ['digest', 'policy'] }, columns)).split('\n');
  assert.equal(at(41).length, 2);
  assert.deepEqual(at(30), [
    'name         state   policy',
    'cifar10-cnn  online  auto',
    'not shown here: digest',
  ]);
  assert.deepEqual(at(22), [
    'name         state',
    'cifar10-cnn  online',
    'not shown here:',
    'digest, policy',
  ]);
  assert.deepEqual(at(12)[0], 'name    cifar10-cnn', 'nothing is left out where that is no help');
});

test('what a device says does not steer the terminal', () => {
  const evil = 'gate\u001b]0;owned\u0007\u001b[2J\u009b31m\u202Etxt.exe\r';
  for (const columns of [undefined, 20]) {
    const made = table(['device'], [[evil]], {}, columns);
    const left = made.replace(/\p{Cc}\[2+m/gu, '').replace(/\n/g, '');
    assert.doesNotMatch(left, /[\p{Cc}\u202a-\u202e]/u);
    assert.match(made, /gate\ufffd\]0;owned\ufffd\ufffd\[2J\ufffd31m\ufffdtxt\.exe\ufffd/);
  }
});

test('bytes are said in the unit that people read', () => {
  assert.deepEqual([0, 999, 1_000, 999_960, 5_100_000, 2_500_000_000].map(bytesText), [
    '0 B',
    '999 B',
    '1.0 kB',
    '1.0 MB',
    '5.1 MB',
    '2.5 GB',
  ]);
});
