/** Work at times that people write as cron expressions. The only owner of node-cron. */
import { createTask, type ScheduledTask, validate } from 'node-cron';
import type { Part } from './lifecycle.ts';
import type { Logger } from './logger.ts';

/** Work to do again and again, and the cron expression that says when. */
export interface ScheduleOptions {
  /** For the log. */
  readonly name: string;
  /** Five fields, or six with seconds first. */
  readonly cron: string;
  /** IANA name; the machine's own when left out. */
  readonly timeZone?: string;
  /** Each run starts up to this much later, by chance, so that a fleet does not come at once. */
  readonly jitterMs?: number;
  readonly run: () => Promise<void>;
  readonly logger: Logger;
}

/** Whether node-cron understands the expression. */
export const isCron = (cron: string): boolean => validate(cron);

/**
 * Whether the minute of a point in time is one that the expression names.
 *
 * @param cron has passed `isCron`
 * @param timeZone IANA name; the machine's own when left out
 */
export function isCronMinute(cron: string, atMs: number, timeZone?: string): boolean {
  const task = createTask(cron, () => undefined, timeZone === undefined ? {} : { timezone: timeZone });
  try {
    return task.match(new Date(Math.floor(atMs / 60_000) * 60_000));
  } finally {
    void task.destroy();
  }
}

/**
 * A run that is still going when the next is due lets that one pass; one that fails is told and does not end the schedule. Runs that
 * were missed, because the machine slept or was too busy, are made up by one.
 */
export class Schedule implements Part {
  readonly #task: ScheduledTask;
  #running: Promise<void> = Promise.resolve();

  constructor({ name, cron, timeZone, jitterMs = 0, run, logger }: ScheduleOptions) {
    const runOnce = (): Promise<void> => {
      this.#running = run().catch((error: unknown) =>
        logger.failure('schedule.failed', error, { schedule: name }),
      );
      return this.#running;
    };
    this.#task = createTask(cron, runOnce, {
      name,
      noOverlap: true,
      maxRandomDelay: jitterMs,
      unref: true,
      suppressMissedWarning: true,
      ...(timeZone !== undefined && { timezone: timeZone }),
    });
    let isMakingUp = false;
    this.#task.on('execution:missed', () => {
      if (isMakingUp) return;
      isMakingUp = true;
      logger.info('schedule.made_up', { schedule: name });
      void this.#running.then(runOnce).finally(() => {
        isMakingUp = false;
      });
    });
  }

  async start(): Promise<void> {
    await this.#task.start();
  }

  async stop(): Promise<void> {
    await this.#task.destroy();
    await this.#running;
  }
}
