/**
 * Holds what has become of rollouts against what was ordered: each state follows from the history, each line of the history from an order or
 * from a gate, each order that was confirmed is in it, and what is deployed is what they have left. Pure: the same records give the same words.
 */
import {
  isUnderWay,
  type RolloutAction,
  type RolloutNote,
  type RolloutRecord,
  type RolloutState,
} from '../../../shared/contract/rollouts.ts';

/** A rollout that was asked for. */
export interface Started {
  /** By which it is known: the id may have been lost with the answer. */
  readonly note: string;
  readonly model: string;
  readonly replaces: boolean;
  /** The hub has said yes; else it may have been killed before or after. */
  confirmed: boolean;
}

/** What was done to a rollout. */
export interface Ordered {
  readonly rollout: string;
  readonly action: RolloutAction;
  readonly confirmed: boolean;
}

/** Everything that was asked for. */
export interface Ledger {
  readonly started: Started[];
  readonly ordered: Ordered[];
}

const EVENT_OF: Readonly<Record<RolloutAction, RolloutNote['event']>> = {
  pause: 'paused',
  resume: 'resumed',
  abort: 'aborted',
  'roll-back': 'rolled-back',
};
const REPLACED = /^rollout (\S+) takes its place$/;
/** A longer history has lost its middle. */
const WHOLE_HISTORY = 200;

/**
 * @param deployed what each model deploys now
 * @param first what it deployed before the first rollout
 * @returns a sentence for each thing that nobody has asked for
 */
export function judge(
  rollouts: readonly RolloutRecord[],
  ledger: Ledger,
  deployed: Readonly<Record<string, string | null>>,
  first: Readonly<Record<string, string>>,
): string[] {
  return [
    ...rollouts.flatMap((one) => judgeOne(one, rollouts, ledger)),
    ...ledger.started
      .filter(({ note, confirmed }) => confirmed && !rollouts.some((one) => one.note === note))
      .map(({ note }) => `the rollout ${note} was confirmed, and is gone`),
    ...Object.entries(deployed).flatMap(([model, version]) => {
      const left = leftDeployed(
        rollouts.filter((one) => one.model === model),
        first[model] ?? '',
      );
      return version === left ? [] : [`${model}@${version} is deployed, and rollouts have left ${left}`];
    }),
  ];
}

function judgeOne(rollout: RolloutRecord, all: readonly RolloutRecord[], ledger: Ledger): string[] {
  const { id, history, state, note } = rollout;
  const wrong: string[] = [];
  if (!ledger.started.some((one) => one.note === note)) wrong.push(`nobody has started rollout ${id}`);
  const asked = ledger.ordered.filter(({ rollout: of }) => of === id);
  for (const [action, event] of Object.entries(EVENT_OF)) {
    const orders = asked.filter((one) => one.action === action);
    const confirmed = orders.filter((one) => one.confirmed).length;
    const found = history.filter(
      (one) => one.event === event && one.by !== null && !REPLACED.test(one.detail),
    );
    if (found.length < confirmed || found.length > orders.length)
      wrong.push(
        `${id} says ${found.length} times ${event}: asked for ${orders.length}, confirmed ${confirmed}`,
      );
  }
  for (const { event, detail } of history) {
    const by = event === 'aborted' ? REPLACED.exec(detail)?.[1] : undefined;
    const other = all.find((one) => one.id === by);
    if (by !== undefined && !ledger.started.some((one) => one.note === other?.note && one.replaces))
      wrong.push(`${id} was replaced by ${by}, and nobody had asked for that`);
  }
  if (history.length < WHOLE_HISTORY) {
    const said = replay(rollout);
    if (said.wrong !== undefined) wrong.push(`${id}: ${said.wrong}`);
    else if (said.state !== state || said.stage !== rollout.stage)
      wrong.push(
        `${id} is ${state} in stage ${rollout.stage}, its history says ${said.state} in stage ${said.stage}`,
      );
  }
  return wrong;
}

/** What the lines of its history have made of a rollout. */
function replay({ history, stages, onFailure }: RolloutRecord): {
  readonly state: RolloutState;
  readonly stage: number;
  readonly wrong?: string;
} {
  let [state, stage, failed] = ['waiting' as RolloutState, 0, false];
  for (const { event, by } of history) {
    const from = state;
    const isBefore = (...states: RolloutState[]): boolean => states.includes(from);
    let isRight = true;
    switch (event) {
      case 'waiting':
        isRight = isBefore('waiting');
        break;
      case 'started':
        isRight = isBefore('waiting');
        state = 'running';
        break;
      case 'stage':
        isRight = isBefore('running') && ++stage < stages.length;
        break;
      case 'gate-failed':
        isRight = isBefore('running');
        failed = true;
        break;
      case 'halted':
        isRight = isBefore('running') && failed && onFailure === 'hold';
        state = 'halted';
        break;
      case 'paused':
        isRight = isBefore('running', 'halted') && by !== null;
        state = 'paused';
        break;
      case 'resumed':
        isRight = isBefore('paused', 'halted') && by !== null;
        [state, failed] = ['running', false];
        break;
      case 'aborted':
        isRight = isUnderWay(from) && by !== null;
        state = 'aborted';
        break;
      case 'rolled-back':
        isRight = by === null ? isBefore('running') && failed : !isBefore('rolled-back');
        state = 'rolled-back';
        break;
      case 'done':
        isRight = isBefore('running') && by === null && stage === stages.length - 1;
        state = 'done';
        break;
      case 'device-rolled-back':
      case 'changed':
        break;
    }
    if (!isRight) return { state, stage, wrong: `“${event}” while it was ${from} in stage ${stage}` };
  }
  return { state, stage };
}

/** The version that rollouts of one model have left deployed, in the order in which they ended. */
function leftDeployed(rollouts: readonly RolloutRecord[], first: string): string {
  const changes = rollouts.flatMap(({ history, version, from }) => {
    const done = history.find(({ event }) => event === 'done');
    const back = history.find(({ event }) => event === 'rolled-back');
    return [
      ...(done ? [{ atMs: done.atMs, version }] : []),
      ...(done && back ? [{ atMs: back.atMs, version: from ?? first }] : []),
    ];
  });
  changes.sort((one, other) => one.atMs - other.atMs);
  return changes.at(-1)?.version ?? first;
}

/** A rollout as it was seen earlier, and as it is now. @returns what was shown before and has gone since */
export function lostSince(before: RolloutRecord, now: RolloutRecord): string[] {
  if (now.history.length >= WHOLE_HISTORY) return [];
  const isKept = before.history.every(({ event, atMs }, at) => {
    const after = now.history[at];
    return after?.event === event && after.atMs === atMs;
  });
  return isKept ? [] : [`${now.id} has forgotten what it had shown: ${before.history.at(-1)?.event}`];
}

/**
 * More devices than its stage has room for.
 *
 * @param matched all devices: a hub that has just begun has not heard of each of them
 */
export function beyondItsStage({ id, stage, stages, devices }: RolloutRecord, matched: number): string[] {
  const { devices: count, share } = stages[stage] ?? {};
  const room = Math.max(1, count ?? Math.ceil((share ?? 1) * matched));
  const inside = Object.entries(devices).reduce(
    (sum, [state, many]) => sum + (state === 'left' ? 0 : (many ?? 0)),
    0,
  );
  return inside > room ? [`${id} has ${inside} devices in stage ${stage}, which has room for ${room}`] : [];
}
