/** What devices count of each version of their models: the evidence by which a rollout goes on or is stopped. */
import { z } from 'zod';
import { modelRef } from './names.ts';
import { releaseVersion } from './releases.ts';

const count = z.int().nonnegative();

/** Places of the histogram of times. */
export const LATENCY_PLACES = 80;
const FIRST_MS = 0.1;
const STEP = 1.2;

/** Upper end of each place of the histogram of times, in milliseconds: 0.1 ms, each a fifth above the one before, the last open (0.1 to 180,000). */
export const LATENCY_ENDS_MS: readonly number[] = Array.from({ length: LATENCY_PLACES }, (_, place) =>
  place === LATENCY_PLACES - 1 ? Number.POSITIVE_INFINITY : FIRST_MS * STEP ** place,
);

/** Place of a time in the histogram. @param ms not negative */
export const latencyPlace = (ms: number): number =>
  ms <= FIRST_MS
    ? 0
    : Math.min(LATENCY_PLACES - 1, Math.ceil(Math.log(ms / FIRST_MS) / Math.log(STEP) - 1e-9));

/** Most that one judged request weighs: 1 / the smallest share that a router audits (`agent/router/learner.ts`). More is no router's. */
export const MAX_JUDGED_WEIGHT = 50;

/** Requests of two models after which what a router escalates tells of them, and no longer of how little it has seen (docs/design/router.md 4.1). */
export const MATURE_REQUESTS = 5_000;

/** Counts of one version on one device since `run` began; each only grows. Sums over the pipelines that run it. */
export const versionCounts = z.object({
  model: modelRef,
  /** Made when the counting of this version began; another one counts from zero. */
  run: z.string().min(1).max(64),
  /** Inputs that it has answered, on trial as well; what the version before answers in its place is that one's. */
  answers: count,
  /**
   * Inputs that it could not answer although nothing was wrong with them: its runner crashed, took too long, or was being started. A queue
   * that was full is nobody's failure, nor is a stop.
   */
  failures: count,
  /** Ends of its runner that nobody asked for, and runners that did not come up. */
  crashes: count,
  /**
   * Answers by their time (preprocessing and inference): place in LATENCY_ENDS_MS, number; places without any are left out. Not those of a
   * trial, during which two versions work side by side and slow each other down.
   */
  times: z
    .array(
      z.tuple([
        z
          .int()
          .min(0)
          .max(LATENCY_PLACES - 1),
        count,
      ]),
    )
    .max(LATENCY_PLACES),
  /** The largest resident size of its runner, looked at each 10 s while it answers; null: not measured yet. */
  memoryBytes: z.number().nonnegative().nullable(),
  /**
   * Requests that the cloud could have been asked about and whose fate is known (asked and answered, or not asked), with what is known of
   * their losses (0..1, by how much the local answer differs from the cloud's): each answered one counts loss / probability of having been
   * asked, at most MAX_JUDGED_WEIGHT, the others 0. Those whose answer never came are left out, and those that follow one another within the
   * pipeline's `decorrelation`.
   */
  judged: z.object({
    requests: count,
    /** … of which the cloud was asked, and has answered. */
    asked: count,
    /** Sum over the requests: its mean is an estimate of the disagreement with the cloud, whatever was asked about. */
    loss: z.number().nonnegative(),
    /** Sum of the squares of what was summed up in `loss`. */
    squares: z.number().nonnegative(),
    /** Sum over the asked ones of 1 / probability²: how much may hide where nothing was found. */
    weights: z.number().nonnegative(),
  }),
  /**
   * Requests that a router decided which has seen enough, and those of them that it escalated by score. Enough are 5,000 requests of these two
   * models, or five openings where its promise needs more (docs/design/router.md 2.4): before that it escalates more because it is young,
   * not because the version is worse. A router that has found no threshold by then escalates everything, and is counted so.
   */
  routed: z.object({ requests: count, escalated: count }),
});
export type VersionCounts = z.infer<typeof versionCounts>;

/** Counts of the agent itself since it started, over all its pipelines: the evidence by which a rollout of the agent goes on or is stopped. */
export const agentCounts = z.object({
  version: releaseVersion,
  /** Made when the agent started; another one counts from zero. */
  run: z.string().min(1).max(64),
  /** Inputs that its own models have answered. */
  answers: count,
  /** Inputs that they could not answer although nothing was wrong with them. */
  failures: count,
  /** Ends of runs of this version that this one follows: 1 where the run before ended and nobody had asked for that, and no power cut explains it. */
  crashes: count,
  /** The largest resident size of its process; null: not measured yet. */
  memoryBytes: z.number().nonnegative().nullable(),
});
export type AgentCounts = z.infer<typeof agentCounts>;
