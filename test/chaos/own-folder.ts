/** The folder and the programs of one run, of which nothing stays, whatever ends the run. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeptProgram } from './kept-program.ts';

/** What a run leaves of itself. */
export interface OwnFolderOptions {
  /** Keeps the folder also when all is well. */
  readonly keep: boolean;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

/**
 * @param run gets the folder, and says whose programs are its own
 * @param isWell whether nobody has to look at what lies in the folder
 * @returns what `run` returns, and where the folder is; undefined when it has been removed
 */
export async function inOwnFolder<R>(
  { keep, signal }: OwnFolderOptions,
  run: (folder: string, own: (programs: () => readonly KeptProgram[]) => void) => Promise<R>,
  isWell: (report: R) => boolean,
): Promise<R & { readonly folder: string | undefined }> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-chaos-'));
  const owned: (() => readonly KeptProgram[])[] = [];
  const endNow = (): void => {
    for (const programs of owned) for (const program of programs()) program.endNow();
  };
  const onExit = (): void => {
    endNow();
    if (signal.aborted) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  process.on('exit', onExit);
  try {
    const report = await run(folder, (programs) => owned.push(programs));
    const isToBeKept = keep || !isWell(report);
    if (!isToBeKept) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    return { ...report, folder: isToBeKept ? folder : undefined };
  } finally {
    endNow();
    process.off('exit', onExit);
  }
}
