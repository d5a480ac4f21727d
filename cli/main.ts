/** The `outrider` program: a program that goes on (hub, agent) alone in its process, or else the command line with all the rest. */
import { fileURLToPath } from 'node:url';
import { programFile } from '../shared/runtime/installation.ts';

const [node = 'node', , word, ...flags] = process.argv;
/** Of `outrider agent`, which looks at the service and is no agent itself (command-line.ts). */
const SERVICE_WORDS = ['install', 'uninstall', 'rollback', 'apply-update', 'status', 'logs', 'help'];
const isProgram = word === 'hub' || (word === 'agent' && !SERVICE_WORDS.includes(flags[0] ?? ''));
if (isProgram) {
  const file = programFile(word);
  process.argv = [node, fileURLToPath(file), ...flags];
  await import(file.href);
} else {
  const { runCommand } = await import('./command-line.ts');
  await runCommand();
}
