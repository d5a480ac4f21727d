/** What devices count of each version of their models: the evidence by which a rollout goes on or is stopped. */
import { z } from 'zod';
import { modelRef } from './names.ts';

const count = z.int().nonnegative();

/** Places of the histogram of times. */
export const LATENCY_PLACES = 80;
const FIRST_MS = 0.1;
const STEP = 1.2;

/** Upper end of each place of the histogram of times, in milliseconds: 0.1 ms, each a fifth above the one before, the last open (0.1 to 180,000). */
export const LATENCY_ENDS_MS: readonly number[] = Array.from({ length: LATENCY_PLACES }, (_, place) =>
  place === LATENCY_PLACES - 1 ? Number.POSITIVE_INFINITY : FIRST_MS * STEP ** place,
);

/** Counts of one version on one device since `run` began; each only grows. Sums over the pipelines that run it. */
export const versionCounts = z.object({
  model: modelRef,
  /** Made when the counting began, with the agent's start: another one counts from zero. */
  run: z.string().min(1).max(64),
  /** Inputs that it has answered. */
  answers: count,
  /** Inputs that it could not answer although nothing was wrong with them. */
  failures: count,
  /** Ends of its runner that nobody asked for, and runners that did not come up. */
  crashes: count,
  /** Answers by their time (preprocessing and inference): place in LATENCY_ENDS_MS, number; places without any are left out. */
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
  /** The largest resident size of its runner that was seen; null: not measured yet. */
  memoryBytes: z.number().nonnegative().nullable(),
  /** What the cloud has said of its answers. */
  judged: z.object({
    /** Requests that the cloud could have been asked about, and of which it is known what it said, or that it was not asked. */
    requests: count,
    /** Sum over them of loss / probability of having been asked; 0 for those not asked. Divided by `requests`: the disagreement, without bias. */
    loss: z.number().nonnegative(),
    /** Sum of the squares of the same. */
    squares: z.number().nonnegative(),
  }),
  /** Requests by a threshold in force; what is asked while a router learns is not among them. */
  routed: z.object({
    /** All of them. */
    requests: count,
    /** Those that the threshold sent to the cloud. */
    escalated: count,
  }),
});
export type VersionCounts = z.infer<typeof versionCounts>;
