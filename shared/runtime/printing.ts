/** What is printed may have nobody to read it any more: `outrider devices ls | head`, or a program whose terminal is gone. */
import { systemCode, toAppError } from './errors.ts';

/** As a shell counts a program that SIGPIPE has ended: 128 and the signal's number. signal(7) */
const ENDED_BY_PIPE = 141;

/** A program goes on, whoever has stopped reading what it says. */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}

/** A command ends with its reader without a word; where its output cannot be written (a full disk), it says so. */
export function endWithReader(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error) => {
    if (systemCode(error) === 'EPIPE') process.exit(ENDED_BY_PIPE);
    const { code, message } = toAppError(error);
    process.stderr.write(`outrider: the output: ${message} (${code})\n`);
    process.exit(1);
  });
}
