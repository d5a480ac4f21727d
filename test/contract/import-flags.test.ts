/** What a refusal of a foreign model names as a help, must be there: each flag in a message is one of the commands that refuse. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { program } from '../../cli/command-line.ts';

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const ROOMS = ['shared/release/import', 'shared/release/folder', 'shared/inference/proof', 'cli/import'];
/** Commands that bring in a model, as they are typed. */
const COMMANDS = [['models', 'pull'], ['models', 'push'], ['doctor']];
/** Only a source far away has it. */
const OF_PULL_ALONE = new Set(['--mirror']);

const flagsOf = (words: readonly string[]): Set<string> => {
  let command = program;
  for (const word of words)
    command = command.commands.find((one) => one.name() === word) ?? assert.fail(word);
  return new Set(command.options.flatMap(({ long }) => long ?? []));
};

test('each flag that is named in a message of the import is one of every command that imports', async () => {
  const named = new Set<string>();
  // Comments of ours may speak of other programs.
  for (const room of ROOMS)
    for (const file of (await readdir(path(room))).filter((name) => name.endsWith('.ts')))
      for (const line of (await readFile(path(join(room, file)), 'utf8')).split('\n'))
        if (!/^\s*(\/\/|\*|\/\*)/.test(line))
          for (const [flag] of line.matchAll(/--[a-z][a-z-]+/g)) named.add(flag);
  assert.ok(named.size >= 7, [...named].join(' '));
  for (const words of COMMANDS)
    for (const flag of named)
      if (!OF_PULL_ALONE.has(flag)) assert.ok(flagsOf(words).has(flag), `${words.join(' ')} has no ${flag}`);
  assert.ok(flagsOf(['models', 'pull']).has('--mirror'));
});
