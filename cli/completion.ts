/** `outrider complete bash|zsh|fish|powershell`: prints what makes a shell complete our commands and options, and answers it. */
import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';

/** Takes the place of the command of this name that help shows. */
export const addCompletion = (program: Command): void => void tab(program);
