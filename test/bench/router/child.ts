/** A child of the router bench: does the jobs it is given, one after the other. */
import { z } from 'zod';
import { AppError } from '../../../shared/runtime/errors.ts';
import { answerParent } from '../worker.ts';
import { jobs } from './jobs.ts';
import { readPair } from './worlds/pairs.ts';

const task = z.object({ name: z.string(), runs: z.int().positive(), pairFiles: z.array(z.string()) });
export type Task = z.infer<typeof task>;

answerParent(async (message) => {
  const { name, runs, pairFiles } = task.parse(message);
  const job = jobs(await Promise.all(pairFiles.map(readPair))).find((one) => one.name === name);
  if (!job) throw new AppError('INVARIANT_BROKEN', `no job is named ${name}`);
  return { rows: job.run(runs) };
});
