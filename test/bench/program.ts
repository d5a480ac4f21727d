/** Programs of ours as children of a bench. */
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { silentLogger as logger } from '../../shared/runtime/logger.ts';
import { Supervisor } from '../../shared/runtime/supervisor.ts';
import { tsxFlags } from '../support/from-source.ts';

/** A program of ours as a child, with what it said of itself. */
export class Program extends Supervisor {
  readonly #told: { facts: unknown };

  constructor(entry: URL, { args, env }: { args: string[]; env?: NodeJS.ProcessEnv }) {
    const told: { facts: unknown } = { facts: undefined };
    const onReady = (facts: Record<string, unknown>): void => {
      told.facts = facts;
    };
    const execArgv = entry.pathname.endsWith('.ts') ? tsxFlags() : [];
    super({ name: entry.pathname, entry, execArgv, args, onReady, ...(env && { env }), logger, clock });
    this.#told = told;
  }

  get facts(): unknown {
    return this.#told.facts;
  }
}

export async function until(what: () => boolean, why: string): Promise<void> {
  const giveUpMonoMs = clock.nowMonoMs() + 60_000;
  while (!what()) {
    if (clock.nowMonoMs() > giveUpMonoMs) throw new AppError('HUB_UNREACHABLE', why);
    await clock.sleep(1, undefined, true);
  }
}
