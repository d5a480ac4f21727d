/** The gates that are plain limits over the devices: there are too few of them, or what they count is too rare, for statistics. */
import type { GateVerdict, RolloutGates } from '../../../shared/contract/rollouts.ts';
import { median } from '../../../shared/runtime/median.ts';
import type { VersionTotals } from '../totals.ts';
import { type Arms, type Away, byDevice } from './arms.ts';
import { amount, megabytes } from './words.ts';

/** Less is what an allocator does or does not give back. */
const LEAST_GROWTH_BYTES = 50 * 1024 ** 2;
/** A device that crashed so often before, for each crash now, says nothing against the version. */
const USUAL_CRASHES = 0.5;

const unbounded = { atLeast: null, atMost: null };

/** What the plain limits say. */
export function plainVerdicts({ crashes, memory, link }: RolloutGates, arms: Arms): GateVerdict[] {
  const verdicts: GateVerdict[] = [];
  if (crashes) verdicts.push(crashesVerdict(arms, crashes.maxShare));
  if (memory) verdicts.push(memoryVerdict(arms, memory.maxRatio));
  if (link && arms.link) verdicts.push(linkVerdict(arms.link, link.maxShare));
  return verdicts;
}

function crashesVerdict(arms: Arms, limit: number): GateVerdict {
  const before = byDevice(arms.before);
  const asked = arms.version.filter(
    ({ totals, wasTakenBack }) =>
      // An agent that runs and is reached need not have had an input.
      arms.link !== undefined || wasTakenBack || totals.crashes > 0 || inputsOf(totals) > 0,
  );
  const takenBack = asked.filter(({ wasTakenBack }) => wasTakenBack);
  const crashed = asked.filter(
    ({ id, totals, wasTakenBack }) => !wasTakenBack && isMoreThanUsual(totals, before.get(id)),
  );
  const evidence = { version: asked.length, before: 0, rest: arms.rest.length };
  const gate = 'crashes' as const;
  if (asked.length === 0)
    return {
      gate,
      evidence,
      worse: null,
      ...unbounded,
      state: 'waiting',
      detail: 'no device has answered with it yet',
    };
  const bad = [...crashed, ...takenBack];
  const share = bad.length / asked.length;
  const named = bad.slice(0, 3).map(({ id }) => id);
  const who = named.length === 0 ? '' : ` (${named.join(', ')}${bad.length > named.length ? ', …' : ''})`;
  const detail = `on ${amount(bad.length)} of ${amount(asked.length)} devices it crashed or was taken back${who}`;
  return { gate, evidence, worse: share, ...unbounded, state: share > limit ? 'failed' : 'passed', detail };
}

/** Against the others: what takes the net from everybody is not the version's doing. */
function linkVerdict({ version, rest }: NonNullable<Arms['link']>, limit: number): GateVerdict {
  const shareOf = ({ told, away }: Away): number => (told === 0 ? 0 : away.length / told);
  const worse = shareOf(version) - shareOf(rest);
  const named = version.away.slice(0, 3).join(', ');
  const who = named === '' ? '' : ` (${named}${version.away.length > 3 ? ', …' : ''})`;
  const detail = `${amount(version.away.length)} of ${amount(version.told)} devices have been away since they got it${who}, ${amount(rest.away.length)} of the ${amount(rest.told)} others`;
  const evidence = { version: version.told, before: 0, rest: rest.told };
  return { gate: 'link', evidence, worse, ...unbounded, state: worse > limit ? 'failed' : 'passed', detail };
}

const inputsOf = ({ answers, failures }: VersionTotals): number => answers + failures;

/** On some devices everything crashes now and then. */
function isMoreThanUsual(totals: VersionTotals, before: VersionTotals | undefined): boolean {
  if (totals.crashes === 0) return false;
  if (!before || inputsOf(before) === 0) return true;
  const expected = (before.crashes / inputsOf(before)) * inputsOf(totals);
  return expected < USUAL_CRASHES * totals.crashes;
}

function memoryVerdict(arms: Arms, limit: number): GateVerdict {
  const gate = 'memory' as const;
  const before = byDevice(arms.before);
  const measured = (totals: VersionTotals | undefined): number[] =>
    totals?.memoryBytes ? [totals.memoryBytes] : [];
  const others = arms.rest.flatMap(({ totals }) => measured(totals));
  const usually = others.length === 0 ? undefined : median(others);
  const pairs = arms.version.flatMap(({ id, totals }) => {
    const [then] = [...measured(before.get(id)), ...(usually === undefined ? [] : [usually])];
    return then === undefined ? [] : measured(totals).map((now) => ({ now, then }));
  });
  const evidence = { version: pairs.length, before: arms.before.length, rest: others.length };
  const open = { gate, evidence, worse: null, ...unbounded };
  if (pairs.length === 0) {
    const isComparable = others.length > 0 || arms.before.some(({ totals }) => totals.memoryBytes !== null);
    return isComparable
      ? { ...open, state: 'waiting', detail: 'its memory has not been measured yet' }
      : { ...open, state: 'unmeasured', detail: 'no device has told what was taken before' };
  }
  const ratio = median(pairs.map(({ now, then }) => now / then));
  const grownBytes = median(pairs.map(({ now, then }) => now - then));
  const now = median(pairs.map((pair) => pair.now));
  const times = Number(ratio.toFixed(2));
  const detail = `takes ${megabytes(now)} at the median of ${amount(pairs.length)} devices, ${times} times what it took before`;
  const isTooMuch = ratio > limit && grownBytes > LEAST_GROWTH_BYTES;
  return { ...open, worse: ratio - 1, state: isTooMuch ? 'failed' : 'passed', detail };
}
