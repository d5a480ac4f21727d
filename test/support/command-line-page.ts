/** docs/cli.md: every command with its own help, as a terminal of 100 columns shows it. */
import type { Command } from 'commander';
import { AGENT_HELP } from '../../agent/config.ts';
import { program } from '../../cli/command-line.ts';
import { SIMULATE_HELP } from '../../cli/simulate/options.ts';
import { HUB_HELP } from '../../cloud/config.ts';

const COLUMNS = 100;
/** Programs that read their own flags. */
const OWN: Readonly<Record<string, string>> = {
  'outrider agent': AGENT_HELP,
  'outrider hub': HUB_HELP,
  'outrider route simulate': SIMULATE_HELP,
};

export const commandLinePage = (generated: string): string =>
  [
    '# Command line',
    '',
    generated,
    '',
    'Every command of `npx outrider` in a checkout, or `outrider` where it is installed. Exit code 0, 1 (failed) or 2 (usage); errors are one',
    'sentence with a code of [errors.md](errors.md). `--json` is for scripts.',
    '',
    '```text',
    helpOf(program, 'outrider'),
    '```',
    '',
    ...program.commands.flatMap((command) => sections(command, 'outrider')),
  ].join('\n');

function sections(command: Command, parent: string): string[] {
  const words = `${parent} ${command.name()}`;
  const level = parent === 'outrider' ? '##' : '###';
  return [
    `${level} ${words}`,
    '',
    '```text',
    helpOf(command, words),
    '```',
    '',
    ...command.commands.flatMap((one) => sections(one, words)),
  ];
}

/** @param words as one types it */
export function helpOf(command: Command, words: string): string {
  const own = OWN[words];
  if (own !== undefined) return own.trim();
  let text = '';
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => COLUMNS,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.replace(/[ \t]+$/gm, '').trim();
}
