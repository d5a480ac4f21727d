/** The program that makes a delta, or a file of one: a process of its own, at the lowest priority, that does one job and ends. */
import { setPriority } from 'node:os';
import { AppError, toAppError, toErrorBody } from '../../runtime/errors.ts';
import { decodeDelta } from './decode.ts';
import { deltaJob, type Finished } from './delta-job.ts';
import { encodeDelta } from './encode.ts';

/** Whoever answers goes first. */
const LOWEST_PRIORITY = 19;

function work(): Finished {
  const job = deltaJob.parse(JSON.parse(process.argv[2] ?? ''));
  if (job.kind === 'encode') return { ok: true, encoded: encodeDelta(job, job) };
  decodeDelta(job, job.resultBytes);
  return { ok: true };
}

function tell(finished: Finished): void {
  process.stdout.write(JSON.stringify(finished));
}

try {
  setPriority(LOWEST_PRIORITY);
} catch {
  // Not every system lets a process step back; it works all the same.
}
try {
  tell(work());
} catch (thrown) {
  const isFull = (thrown as NodeJS.ErrnoException).code === 'ENOSPC';
  tell({ ok: false, error: toErrorBody(isFull ? new AppError('DISK_FULL') : toAppError(thrown)) });
}
