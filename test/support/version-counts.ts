/** Counts of versions as devices tell them. */
import { latencyPlace, type VersionCounts } from '../../shared/contract/version-counts.ts';
import { EDGE_MODEL } from './fixed.ts';

/** Counts of nothing, but for what the test is about. */
export const counts = (overrides: Partial<VersionCounts> = {}): VersionCounts => ({
  model: EDGE_MODEL,
  run: 'run-1',
  answers: 0,
  failures: 0,
  crashes: 0,
  times: [],
  memoryBytes: null,
  judged: { requests: 0, asked: 0, loss: 0, squares: 0, weights: 0 },
  routed: { requests: 0, escalated: 0 },
  ...overrides,
});

/** So many answers that took so long. */
export const timesOf = (answers: number, ms: number): VersionCounts['times'] => [[latencyPlace(ms), answers]];
