import assert from 'node:assert/strict';
import test from 'node:test';
import { AGENT_HELP } from '../../../../agent/config.ts';
import { SIMULATE_HELP } from '../../../../cli/simulate/options.ts';
import { HUB_HELP } from '../../../../cloud/config.ts';
import { helpText, sentences } from '../../../../shared/runtime/help-text.ts';

const HELP = `Usage: outrider thing [options]

Does what it does, and says so in a sentence that
is longer than a narrow terminal.

Options:
  --data DIR   data folder (default ./data); it is made where it is not there
               yet
  --a-longer-one  begins further in, and goes on where
               the others do

Examples:
  outrider thing --data ./somewhere/that/is/rather/long --a-longer-one
`;

test('help is broken between words, each meaning in its column', () => {
  assert.equal(
    helpText(HELP, 44),
    `Usage: outrider thing [options]

Does what it does, and says so in a sentence
that is longer than a narrow terminal.

Options:
  --data DIR   data folder (default ./data);
               it is made where it is not
               there yet
  --a-longer-one  begins further in, and
               goes on where the others do

Examples:
  outrider thing --data ./somewhere/that/is/rather/long --a-longer-one
`,
  );
});

test('without room beside a term what it means stands below it', () => {
  assert.match(
    helpText(HELP, 30),
    /\n {2}--data DIR\n {6}data folder \(default\n {6}\.\/data\); it is made\n/,
  );
});

test('a pipe gets help as it is written', () => {
  assert.equal(helpText(HELP, undefined), HELP);
});

test('a sentence is broken between words; tables and commands are not', () => {
  const text = `There is none yet: a word begins one.
  a   table   that   is   wider
outrider thing --data ./somewhere/else
short`;
  assert.equal(
    sentences(text, 24),
    `There is none yet: a
word begins one.
  a   table   that   is   wider
outrider thing --data ./somewhere/else
short`,
  );
  assert.equal(sentences(text, undefined), text);
});

for (const [name, help] of Object.entries({ hub: HUB_HELP, agent: AGENT_HELP, simulate: SIMULATE_HELP }))
  for (const columns of [40, 60, 80, 200])
    test(`help of ${name} has room in ${columns} columns, and loses no word`, () => {
      const set = helpText(help, columns);
      const words = (text: string): string[] => text.trim().split(/\s+/);
      assert.deepEqual(words(set), words(help));
      // What is one word, or to be copied, is as long as it is.
      const wide = set
        .split('\n')
        .filter(
          (line) => line.length > columns && /\S\s+\S/.test(line) && !/^\s*(?:\{|outrider )/.test(line),
        );
      assert.deepEqual(wide, []);
    });
