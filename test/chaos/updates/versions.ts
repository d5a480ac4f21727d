/** Versions that an operator of the chaos of updates rolls out: how they come to the hub. */

/** Versions of one model, or of the agent. */
export interface Versions {
  /** Numbers of those that the hub has. */
  readonly published: readonly string[];
  /** Brings a version to the hub. @param isBad devices refuse it @returns its number; undefined: it was over before the hub had it */
  next(isBad: boolean, signal: AbortSignal): Promise<string | undefined>;
  /** One that devices take, and that nothing is killed for any more. */
  last(): Promise<{ readonly version: string; readonly digest: string }>;
}
