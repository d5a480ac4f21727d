/** A program of ours that does nothing but what its first argument says; the second one is a file for its traces. */
import { appendFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { AppError } from '../../shared/runtime/errors.ts';
import { runProgram, tellParent } from '../../shared/runtime/program.ts';

const [how = 'up', traces = '/dev/null'] = process.argv.slice(2);
const leave = (trace: string): void => appendFileSync(traces, `${trace}\n`);

// Of signals that wait together the one with the lowest number comes first: this one has the highest of those that are sent.
process.on('SIGWINCH', () => leave('signalled'));

if (how === 'crash') throw new TypeError('a mistake at the top');
if (how === 'silent') setInterval(() => undefined, 1_000);
else
  await runProgram(
    async (finish, parent) => {
      leave('starting');
      if (how === 'asks') leave(`told of ${(await parent).hub}`);
      if (how === 'taken') throw new AppError('PORT_TAKEN', 'port 8080 is taken');
      if (how === 'usage') throw new AppError('USAGE', 'unknown option');
      if (how === 'bug') throw new TypeError('a mistake of ours');
      if (how === 'exit') process.exit(7);
      // Keeps the process up.
      const timer = setInterval(() => undefined, 1_000);
      // Nobody opens the other end: this call to the system does not come back.
      if (how === 'blocked') void open(traces.replace(/traces$/, 'pipe'), 'r').catch(() => undefined);
      if (how === 'finish') setImmediate(finish);
      if (how === 'finished') setImmediate(() => tellParent({ type: 'finished' }));
      return {
        facts: { pid: process.pid },
        stop: async () => {
          leave('stopping');
          if (how === 'stuck' || how === 'endless') await new Promise(() => undefined);
          clearInterval(timer);
          leave('stopped');
        },
      };
    },
    how === 'stuck' ? 200 : undefined,
  );
