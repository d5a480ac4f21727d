/** What a decision costs: time, and the memory of one learner. */
import { Learner, type LearnerState } from '../../../../agent/router/learner.ts';
import { bytesOf } from '../../../../agent/router/packed.ts';
import { median } from '../../harness.ts';
import type { TimingRow } from '../results.ts';
import { makePool } from '../worlds/pool.ts';
import { below, seeded } from '../worlds/random.ts';
import { WORLDS } from '../worlds/worlds.ts';
import { auditLots } from './replay.ts';

const BATCHES = 15;
const REQUESTS = 100_000;
/** Enough to leave the opening behind, and for the machine code to be made. */
const WARM_UP = 20_000;

export function measureTiming(): TimingRow {
  const { scores, losses } = makePool(WORLDS.calibrated);
  const random = seeded(1);
  const learner = new Learner({
    target: { alpha: 0.02, delta: 0.05, scope: 'all' },
    certified: null,
    random: auditLots(1),
  });
  const order = Uint32Array.from({ length: REQUESTS }, () => below(scores.length, random));
  const batch = (requests: number): number => {
    // Processor time, not the clock's: other programs are no part of what a decision costs.
    const before = process.cpuUsage();
    for (let request = 0; request < requests; request++) {
      const index = order[request]!;
      learner.settle(learner.decide(scores[index]!), losses[index]!);
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / requests;
  };
  batch(WARM_UP);
  const batchesUs = Array.from({ length: BATCHES }, () => batch(REQUESTS));
  return {
    kind: 'timing',
    decisionUs: median(batchesUs),
    slowestBatchUs: Math.max(...batchesUs),
    memoryBytes: arrayBytes(learner.state),
    jsonBytes: Buffer.byteLength(JSON.stringify(learner.state)),
  };
}

/** Bytes of the typed arrays behind a state. */
function arrayBytes(state: LearnerState): number {
  const { tests, inputShift, askedShift } = state;
  const ledgers = tests ? [tests.ledger, ...tests.others] : [];
  return [
    ...Object.values(tests?.grid ?? {}),
    ...ledgers.map(({ debits }) => debits),
    ...Object.values(inputShift ?? {}),
    ...(askedShift ? [askedShift.expected] : []),
  ].reduce((sum, packed) => sum + bytesOf(packed).byteLength, 0);
}
