/**
 * Tells systemd how this program is, as sd_notify(3) has it: ready, stopping, alive. Node has no datagram sockets of the Unix kind, so
 * systemd's own `systemd-notify` carries the words (8 ms each, 1 of them ours; docs/decisions/0034). Without NOTIFY_SOCKET nothing happens.
 */
import { execFile } from 'node:child_process';
import type { Clock } from './clock.ts';
import type { Part } from './lifecycle.ts';
import type { Logger } from './logger.ts';
import { within } from './within.ts';

/** Carries assignments (`READY=1`) to the service manager; rejects where it cannot. */
type Notify = (assignments: readonly string[]) => Promise<void>;

/** What systemd has said to this program by its environment. */
export interface ServiceEnvironment {
  readonly notify: Notify;
  /** By when the next sign of life must be there; undefined: nobody waits for one. */
  readonly watchdogMs: number | undefined;
}

/** Signs of life are sent three times as often as one is wanted: a machine under load may be late with two. */
const SIGNS_PER_WATCH = 3;
const CHECK_WITHIN_MS = 10_000;
const NOTIFY_WITHIN_MS = 10_000;

/**
 * Takes what systemd has said out of the environment, so that no child of ours speaks in our name.
 *
 * @returns undefined where no service manager waits for a word
 */
export function takeServiceEnvironment(env: NodeJS.ProcessEnv = process.env): ServiceEnvironment | undefined {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = env;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name];
  if (!socket) return undefined;
  const isWatched = Number(usec) > 0 && (pid === undefined || Number(pid) === process.pid);
  return {
    notify: (assignments) =>
      new Promise((resolve, reject) => {
        const options = { env: { ...env, NOTIFY_SOCKET: socket }, timeout: NOTIFY_WITHIN_MS };
        execFile('systemd-notify', [...assignments], options, (error) => (error ? reject(error) : resolve()));
      }),
    watchdogMs: isWatched ? Number(usec) / 1_000 : undefined,
  };
}

/** Who waits for a word, and how to know what to say. */
export interface ServiceManagerOptions {
  readonly service: ServiceEnvironment;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Rejects, or does not resolve within 10 s, when this program can do nothing any more. */
  readonly check: () => Promise<unknown>;
  /** What people read in `systemctl status`: one line. */
  readonly status: () => string;
}

/** Program as its service manager sees it: started last and stopped first, so that ready means all of it. */
export class ServiceManager implements Part {
  readonly #o: ServiceManagerOptions;
  #cancel: () => void = () => undefined;
  #isFailing = false;
  #isStopped = false;

  constructor(options: ServiceManagerOptions) {
    this.#o = options;
  }

  /** Says that the program is ready, and from then on that it lives. */
  async start(): Promise<void> {
    await this.#say('READY=1', this.#status());
    this.#watch();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    await this.#say('STOPPING=1');
  }

  /** The timer itself is the first half of the check: it fires while the event loop turns. */
  #watch(): void {
    const { service, clock } = this.#o;
    if (service.watchdogMs === undefined || this.#isStopped) return;
    this.#cancel = clock.after(service.watchdogMs / SIGNS_PER_WATCH, () => void this.#sign());
  }

  async #sign(): Promise<void> {
    const { clock, logger, check } = this.#o;
    try {
      const isAlive = await within(
        clock,
        CHECK_WITHIN_MS,
        check().then(() => true),
      );
      if (isAlive) await this.#say('WATCHDOG=1', this.#status());
      else logger.warn('service.check_hangs', { afterMs: CHECK_WITHIN_MS });
    } catch (error) {
      logger.failure('service.check_failed', error);
    }
    this.#watch();
  }

  #status(): string {
    return `STATUS=${this.#o.status().replaceAll(/\s+/g, ' ').slice(0, 200)}`;
  }

  /** Told once while it stays so: systemd itself ends whom it does not hear. */
  async #say(...assignments: string[]): Promise<void> {
    try {
      await this.#o.service.notify(assignments);
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) this.#o.logger.failure('service.notify_failed', error);
      this.#isFailing = true;
    }
  }
}
