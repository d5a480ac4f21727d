/** Programs of ours as children of a bench. */
import { readFile } from 'node:fs/promises';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { silentLogger as logger } from '../../shared/runtime/logger.ts';
import { Supervisor } from '../../shared/runtime/supervisor.ts';

/** A program of ours as a child, with what it said of itself. */
export class Program extends Supervisor {
  readonly #told: { facts: unknown };

  constructor(entry: URL, { args, env }: { args: string[]; env?: NodeJS.ProcessEnv }) {
    const told: { facts: unknown } = { facts: undefined };
    const onReady = (facts: Record<string, unknown>): void => {
      told.facts = facts;
    };
    super({ name: entry.pathname, entry, args, onReady, ...(env && { env }), logger, clock });
    this.#told = told;
  }

  get facts(): unknown {
    return this.#told.facts;
  }
}

/** Memory of a process that is in use, in bytes; NaN where the system does not say (Linux only). */
export async function residentBytes(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN);
}

export async function until(what: () => boolean, why: string): Promise<void> {
  const giveUpMonoMs = clock.nowMonoMs() + 60_000;
  while (!what()) {
    if (clock.nowMonoMs() > giveUpMonoMs) throw new AppError('HUB_UNREACHABLE', why);
    await clock.sleep(1, undefined, true);
  }
}
