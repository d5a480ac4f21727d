/**
 * How a person gets to the page: a one-time address, made by whoever has an admin key, becomes a cookie. Both live in memory
 * only: after a restart of the hub people sign in again.
 */
import type { Clock } from '../../../shared/runtime/clock.ts';
import { newSecret, sha256Hex } from '../../../shared/runtime/ids.ts';

/** Long enough to be copied from a terminal into a browser. */
export const CODE_LIFE_MS = 10 * 60_000;
/** A working day; the browser forgets its cookie then, too. */
export const SIGN_IN_LIFE_MS = 12 * 3_600_000;
/** Of each; the oldest go. */
const MAX_OPEN = 100;

/** One-time codes, and the browsers that have used one. */
export class SignIns {
  readonly #clock: Clock;
  /** When each ends, by SHA-256, oldest first. */
  readonly #codes = new Map<string, number>();
  readonly #signedIn = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Below the hub's own address; good once, for ten minutes. */
  createPath(): string {
    return `/sign-in?code=${this.#add(this.#codes, CODE_LIFE_MS)}`;
  }

  /** @returns what the cookie holds; undefined for a code that is unknown, used or too old */
  redeem(code: string): string | undefined {
    const key = sha256Hex(code);
    const isGood = this.#isAlive(this.#codes, key);
    this.#codes.delete(key);
    return isGood ? this.#add(this.#signedIn, SIGN_IN_LIFE_MS) : undefined;
  }

  isSignedIn(session: string | undefined): boolean {
    return session !== undefined && this.#isAlive(this.#signedIn, sha256Hex(session));
  }

  #add(to: Map<string, number>, lifeMs: number): string {
    const secret = newSecret();
    to.set(sha256Hex(secret), this.#clock.nowMonoMs() + lifeMs);
    const oldest = to.keys().next();
    if (to.size > MAX_OPEN && !oldest.done) to.delete(oldest.value);
    return secret;
  }

  #isAlive(among: ReadonlyMap<string, number>, key: string): boolean {
    return (among.get(key) ?? 0) > this.#clock.nowMonoMs();
  }
}
