/**
 * `outrider complete bash|zsh|fish|powershell`: prints what makes a shell complete our commands and options, and answers it. Where
 * we have nothing to offer, folders and files are what is wanted, and the shell offers those.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';
import { programFile } from '../shared/runtime/installation.ts';

/** The library's script for bash needs the package bash-completion, and complains when it is read a second time. */
const BASH = `# bash completion for outrider
_outrider() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    [[ $line == :* ]] || COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(outrider complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _outrider outrider`;

/** Takes the place of the command of this name that help shows. */
export function addCompletion(program: Command): void {
  const [, , , shell, ...more] = process.argv;
  if (shell === 'bash' && more.length === 0)
    return void program.command('complete <shell>').action(() => void process.stdout.write(`${BASH}\n`));
  const [named = '', next = ''] = more;
  // A program that reads its own flags; `agent install` has others, which are known here.
  if (shell === '--' && isProgram(named) && next.startsWith('-') && more.at(-1)?.startsWith('-'))
    return void program
      .command('complete')
      .allowUnknownOption()
      .allowExcessArguments()
      .action(() => offerFlags(named, more.at(-1) ?? ''));
  const root = tab(program);
  // It tells shells to offer no files, ever, and has no setting for it.
  const answering = root as unknown as { complete(word: string): void };
  const answer = answering.complete.bind(root);
  answering.complete = (word) =>
    root.completions.length === 0 && !word.startsWith('-')
      ? void process.stdout.write(`${OFFER_FILES}\n`)
      : answer(word);
}

/** The directive by which a shell does as it does without us. */
const OFFER_FILES = ':0';
/** And that by which it offers no files. */
const OFFER_NO_FILES = ':4';

const PROGRAMS = ['agent', 'hub'] as const;
const isProgram = (word: string): word is (typeof PROGRAMS)[number] =>
  (PROGRAMS as readonly string[]).includes(word);

/** `  --data DIR   data folder (default ./data)` of a program's help, which has its flags itself. */
const FLAG = /^ {2}(?:-\w, )?(--[\w-]+)(?: \S+)? +(\S.*)$/gm;

function offerFlags(program: (typeof PROGRAMS)[number], begun: string): void {
  const help = execFileSync(process.execPath, [fileURLToPath(programFile(program)), '--help'], {
    encoding: 'utf8',
  });
  const flags = [...help.matchAll(FLAG)].filter(([, flag]) => flag?.startsWith(begun));
  for (const [, flag, meaning] of flags) process.stdout.write(`${flag}\t${meaning}\n`);
  process.stdout.write(`${OFFER_NO_FILES}\n`);
}
