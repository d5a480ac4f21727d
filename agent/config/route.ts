/** The promise of a pipeline, and what may be spent on it: `route` of `outrider.yaml`. */
import { z } from 'zod';
import { DEFAULT_DEADLINE_MS, DEFAULT_EXPIRES_MS } from '../../shared/contract/limits.ts';
import { routeScope } from '../../shared/contract/routing.ts';
import { lossOptions } from '../../shared/tasks/loss-options.ts';
import { duration, size } from './quantities.ts';

/** Some ten thousand captures of a classifier. */
const DEFAULT_CAPTURE_BYTES = 10e6;

const ratio = z.number().gt(0.5).lt(1);
/** What asking the cloud costs; for what is shown as saved. */
const price = z.strictObject({
  /** Of one question to the cloud. @example 0.002 */
  request: z.number().nonnegative().default(0),
  /** Of inputs sent. @example 0.01 */
  megabyte: z.number().nonnegative().default(0),
  /** As it is shown. @example EUR */
  currency: z.string().min(1).max(8),
});

/** Promise of agreement, and the means for it. */
export const route = z
  .strictObject({
    /** Share of the requests that get the answer that the cloud would have given. @example 0.98 */
    agreement: ratio.default(0.98),
    /** With which probability that holds, at all times at once. @example 0.95 */
    confidence: ratio.default(0.95),
    /** What the agreement is promised of: all requests that can be asked about, or those answered locally. @example local */
    scope: routeScope.default('all'),
    /** A promise for each label, so that a rare one is not sacrificed. @example true */
    perLabel: z.boolean().default(false),
    /** From the pair's certificate, where it is about this cloud model, else from what other devices have seen of the pair; or by asking about everything. @example learn */
    start: z.enum(['certificate', 'learn']).default('certificate'),
    /** Where to answer, whatever the score. @example cloud */
    always: z.enum(['edge', 'cloud']).optional(),
    /** When the asker gets an answer, the local one if need be. @example 500ms */
    deadline: duration.default(DEFAULT_DEADLINE_MS),
    /** When a request may be given up; the agent's running time counts. @example 24h */
    expires: duration.default(DEFAULT_EXPIRES_MS),
    /**
     * Without a link: answer locally and owe nothing; wait for the cloud; or both, the cloud's answer as a correction.
     *
     * @example queue
     */
    whenOffline: z.enum(['answer', 'queue', 'both']).default('both'),
    /** What may be spent on asking. @example { requestsPerHour: 600, bytesPerDay: 50MB } */
    budget: z
      .strictObject({
        /** Questions in any hour. @example 600 */
        requestsPerHour: z.number().positive().optional(),
        /** Bytes of inputs in any day. @example 50MB */
        bytesPerDay: size.optional(),
      })
      .default({}),
    /**
     * Frames of one scene are one witness: of inputs that follow one another within this time, one teaches the router.
     *
     * @example 30s
     */
    decorrelation: duration.default(0),
    /** What asking the cloud costs, for what is shown as saved. @example { request: 0.002, currency: EUR } */
    price: price.optional(),
    /** What counts as the same answer; the same best label when left out. @example { topK: 3 } */
    loss: lossOptions.optional(),
    /**
     * Keeps what was learned from, for `outrider route simulate`: scores, answers and losses, no inputs.
     *
     * @example { maxBytes: 10MB }
     */
    captures: z
      .strictObject({
        /** Of both files that are kept in turn. @example 10MB */
        maxBytes: size.default(DEFAULT_CAPTURE_BYTES),
      })
      .optional(),
  })
  .prefault({});
