import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandWords } from '../../../../shared/runtime/command-words.ts';

test('a command is its words: quotes keep blanks, and nothing is a shell’s', () => {
  for (const [text, words] of [
    ['python train.py', ['python', 'train.py']],
    [`  '/opt/my python' "a b"c 'd"e' `, ['/opt/my python', 'a bc', 'd"e']],
    ['a\\ b "c\\"d" \'e\\f\'', ['a b', 'c"d', 'e\\f']],
    ['sh -c "a | b; $C *"', ['sh', '-c', 'a | b; $C *']],
    [`x ''`, ['x', '']],
  ] as const)
    assert.deepEqual(commandWords(text), words);
  for (const wrong of ['', '   ', 'a "b', "it's"])
    assert.throws(() => commandWords(wrong), { code: 'USAGE' });
});
