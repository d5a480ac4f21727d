/** The synthetic worlds by name (docs/design/router.md 4.1 and 4.4). */
import type { World } from './pool.ts';

/** At this scale the probabilities mean what they say. */
const CALIBRATED = 2.2;
const OVERCONFIDENT = 6;

export const WORLDS = {
  calibrated: { seed: 11, scale: CALIBRATED },
  overconfident: { seed: 12, scale: OVERCONFIDENT },
  underconfident: { seed: 13, scale: 0.8 },
  'noisy score': { seed: 14, scale: CALIBRATED, score: 'noisy' },
  'useless score': { seed: 15, scale: CALIBRATED, score: 'useless' },
  easy: { seed: 16, scale: CALIBRATED, kinds: 'easier' },
  'confident tail errors': { seed: 17, scale: CALIBRATED, confidentErrors: 0.012 },
  'int8 softmax': { seed: 12, scale: OVERCONFIDENT, score: 'int8' },
  'int8 with tie-break': { seed: 12, scale: OVERCONFIDENT, score: 'int8-tie-break' },
  'log-odds of the same model': { seed: 12, scale: OVERCONFIDENT, score: 'log-odds' },
} satisfies Record<string, World>;

/** With losses between 0 and 1. */
export const GRADED: World = { seed: 18, scale: CALIBRATED, isGraded: true };

/** Before and after a shift. */
export const DRIFTING = {
  usual: { seed: 21, scale: CALIBRATED },
  'errors 5 %': { seed: 22, scale: CALIBRATED, confidentErrors: 0.05 },
  harder: { seed: 23, scale: CALIBRATED, kinds: 'harder' },
  relabelled: { seed: 24, scale: CALIBRATED, relabelled: 0.04 },
  easier: { seed: 25, scale: CALIBRATED, kinds: 'easier' },
  'errors 15 %': { seed: 26, scale: CALIBRATED, confidentErrors: 0.15 },
} satisfies Record<string, World>;

/** Most requests, and those of a rare label on which the local model is often wrong with confidence. */
export const COMMON_LABEL: World = { seed: 41, scale: CALIBRATED };
export const RARE_LABEL: World = { seed: 42, scale: CALIBRATED, confidentErrors: 0.3 };
