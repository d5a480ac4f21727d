/**
 * Watches how long signatures are good, and tells long before one ends: in the log, as an event, as a metric. What this hub signs again by
 * itself is told only where it could not.
 */
import type { SigningLevel, SigningRoleStatus } from '../../shared/contract/signing.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { EventSink } from '../ports.ts';

/** Looked at again after this; a role is told of when its level has changed. */
const LOOK_EVERY_MS = 3_600_000;
/** Said again, for whoever reads only the log of today. */
const TELL_AGAIN_MS = 86_400_000;

/** What is watched, and who is told. */
export interface SigningWatchOptions {
  readonly roles: () => readonly SigningRoleStatus[];
  readonly events: EventSink;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Teller of signatures that end. */
export class SigningWatch implements Part {
  readonly #o: SigningWatchOptions;
  /** By role, what was told last. */
  readonly #told = new Map<string, { readonly level: SigningLevel; readonly atMs: number }>();
  #cancel = (): void => undefined;

  constructor(options: SigningWatchOptions) {
    this.#o = options;
    const { metrics, clock, roles } = options;
    metrics.gauges(
      'outrider_signing_expires_seconds',
      'How long the signature of a role’s metadata is still good; below 0 it has ended',
      ['role'],
      () =>
        roles().map(({ role, expiresAtMs }) => [
          { role },
          expiresAtMs === null ? null : (expiresAtMs - clock.nowAtMs()) / 1_000,
        ]),
    );
  }

  start(): void {
    this.look();
    this.#cancel = this.#o.clock.after(LOOK_EVERY_MS, () => this.start());
  }

  stop(): void {
    this.#cancel();
  }

  /** Looks now: keys or metadata have changed, or time has passed. */
  look(): void {
    const { roles, events, clock, logger } = this.#o;
    const nowAtMs = clock.nowAtMs();
    const all = roles();
    for (const { role, level, expiresAtMs, todo } of all) {
      const before = this.#told.get(role) ?? { level: 'ok', atMs: Number.NEGATIVE_INFINITY };
      const isNew = before.level !== level;
      if (!isNew && (level === 'ok' || nowAtMs - before.atMs < TELL_AGAIN_MS)) continue;
      this.#told.set(role, { level, atMs: nowAtMs });
      if (level === 'ok') logger.info('updates.signature_renewed', { role });
      else logger.warn('updates.signature_ends', { role, level, expiresAtMs, todo });
      if (isNew) events.publish({ type: 'signing', role, level, expiresAtMs, todo, atMs: nowAtMs });
    }
    for (const role of this.#told.keys()) if (!all.some((one) => one.role === role)) this.#told.delete(role);
  }
}
