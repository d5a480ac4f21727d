/**
 * The rehearsal of a version that somebody offers, in a throw-away runner: a model is data from outside, and this is the first time that it
 * runs. Only what passes is published.
 */

import type { VersionTest } from '../../shared/contract/admin.ts';
import { type SelfTestOptions, selfTest } from '../../shared/inference/proof/self-test.ts';
import type { StartRunner } from '../../shared/inference/runner/runner.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, toAppError } from '../../shared/runtime/errors.ts';

/** Of its runner: less than what the hub's own runners may take. */
const LIMITS = { maxRssBytes: 3 * 1024 ** 3, startTimeoutMs: 60_000, callTimeoutMs: 20_000 };
/** For all golden inputs together: an outrider.json may list any number. */
const REHEARSAL_MS = 120_000;
/** Not the version's fault. */
const NOT_A_VERDICT: readonly ErrorCode[] = ['DISK_FULL', 'INVARIANT_BROKEN'];
const OWN_WORDS: readonly ErrorCode[] = ['MODEL_INVALID', 'MODEL_DIGEST_MISMATCH', 'MODEL_SELF_TEST_FAILED'];

/** How the throw-away runner of a rehearsal starts, and its limits. */
export interface RehearsalOptions {
  readonly startRunner: StartRunner;
  readonly threads: number;
  readonly clock: Clock;
  /** Shorter ones for tests. */
  readonly limits?: Partial<typeof LIMITS>;
}

/** @throws MODEL_INVALID, MODEL_SELF_TEST_FAILED */
export type Rehearse = (
  folder: ModelFolder,
  options?: Pick<SelfTestOptions, 'takesAnyAnswer'>,
) => Promise<Exclude<VersionTest, 'forced'>>;

/** Rehearsals with these limits. */
export const createRehearsal =
  ({ startRunner, threads, clock, limits }: RehearsalOptions): Rehearse =>
  async (folder, options) => {
    const { path, digest } = folder;
    try {
      const runner = await startRunner({
        ...LIMITS,
        ...limits,
        folder: path,
        digest,
        threads,
        // Models that answer somebody go before it.
      });
      // Ends its call as well: then the runner was killed, and the version did not pass.
      const cancel = clock.after(REHEARSAL_MS, () => void runner.stop(0));
      try {
        const { kind, untested } = await selfTest(runner, folder, options);
        return untested === undefined ? kind : 'untested';
      } finally {
        cancel();
        await runner.stop(0);
      }
    } catch (error) {
      const known = toAppError(error);
      if (OWN_WORDS.includes(known.code) || NOT_A_VERDICT.includes(known.code)) throw error;
      throw new AppError('MODEL_SELF_TEST_FAILED', `the hub could not run it: ${known.message}`, {
        cause: error,
      });
    }
  };
