/** What evidence has to be before a gate says anything. */

/** Fewer requests say nothing, however the sums look. */
export const LEAST_REQUESTS = 100;
/** A version that has answered so much and was never judged will not be. */
export const ANSWERS_WITHOUT_A_WORD = 200;
