/**
 * Holds what a device accepted against what it has said in the end: each accepted request has exactly one final answer, or has
 * expired, failed or been dead-lettered, and each is counted. Pure: the same records give the same counts.
 */
import { isFailure, type Result } from '../../shared/contract/result.ts';
import type { Ledger } from './load.ts';

/** What a device has left behind. */
export interface Left {
  /** Lines of its results files, in order. */
  readonly results: readonly Result[];
  readonly deadLetters: readonly Result[];
}

export interface UsageKey {
  readonly who: string;
  readonly requestId: string;
}

export interface Counts {
  /** HTTP callers were told yes. */
  readonly accepted: number;
  /** Of these, went to the cloud: given a provisional Result, a 202, or the cloud's answer. */
  readonly escalated: number;
  /** Of these, larger than one message. */
  readonly escalatedLarge: number;
  readonly acceptedLarge: number;
  readonly answered: number;
  readonly expired: number;
  readonly failed: number;
  readonly deadLettered: number;
  /** Two different final Results for one id in the sinks. */
  readonly duplicated: number;
  /** The caller was given another final Result than the sinks. */
  readonly contradicted: number;
  /** The same final Result more than once: allowed after a kill. */
  readonly repeated: number;
  /** Accepted, and nothing final ever came. */
  readonly lost: number;
  /** Files of the input folder that no final Result is about. */
  readonly lostFiles: number;
  /** Provisional Results of feeds that no final one followed. */
  readonly lostFeedInputs: number;
  /** Ids of everything that went wrong, for the search. */
  readonly suspects: readonly string[];
}

/** Larger than one message. */
const LARGE_BYTES = 120 * 1024;
/** Models that run in other batches differ in the last digits. */
const SCORE_TOLERANCE = 0.01;

export function reconcile(ledger: Ledger, left: Left): Counts {
  const finals = finalsById(left.results);
  const dead = new Set(left.deadLetters.map(({ id }) => id));
  const suspects: string[] = [];
  const suspect = (why: string, id: string): true => {
    suspects.push(`${why} ${ledger.device} ${id}`);
    return true;
  };
  let [answered, expired, failed, deadLettered, lost, contradicted] = [0, 0, 0, 0, 0, 0];
  for (const { id, given } of ledger.accepted) {
    const final = finals.get(id)?.find((one) => !isAudit(one));
    const shown = given && isFinal(given) ? given : undefined;
    if (final && shown && !sameAnswer(final, shown) && suspect('contradicted', id)) contradicted++;
    // One that stayed local is owed to nobody: the caller has it, whatever became of the sinks.
    const end = final ?? (shown && !isEscalated(given) ? shown : undefined);
    if (end) {
      if (!isFailure(end)) answered++;
      else if (end.error.code === 'EXPIRED') expired++;
      else failed++;
    } else if (dead.has(id)) deadLettered++;
    else if (suspect('lost', id)) lost++;
  }
  const asked = new Set(ledger.accepted.map(({ id }) => id));
  const unfollowed = new Set(
    left.results
      .filter((one) => !isFinal(one) && !finals.has(one.id) && !dead.has(one.id))
      .map(({ id }) => id),
  );
  const lostFeedInputs = [...unfollowed].filter((id) => !asked.has(id) && suspect('unfollowed', id)).length;
  const labels = new Set([...finals.values()].flat().map(({ input }) => input));
  const lostFiles = ledger.files.filter((name) => !labels.has(name) && suspect('lost file', name)).length;
  const escalated = ledger.accepted.filter(({ given }) => isEscalated(given));
  const isLarge = ({ bytes }: { bytes: number }): boolean => bytes > LARGE_BYTES;
  let [duplicated, repeated] = [0, 0];
  for (const [id, all] of finals) {
    const [first, ...others] = all.filter((one) => !isAudit(one));
    if (!first || others.length === 0) continue;
    if (others.every((one) => sameAnswer(one, first))) repeated++;
    else if (suspect('duplicated', id)) duplicated++;
  }
  return {
    accepted: ledger.accepted.length,
    escalated: escalated.length,
    acceptedLarge: ledger.accepted.filter(isLarge).length,
    escalatedLarge: escalated.filter(isLarge).length,
    ...{ answered, expired, failed, deadLettered, duplicated, contradicted, repeated },
    ...{ lost, lostFiles, lostFeedInputs, suspects },
  };
}

/** Requests that a device is charged for more than once. */
export function countedTwice(lines: readonly UsageKey[]): string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const { who, requestId } of lines) {
    const key = `${who} ${requestId}`;
    if (seen.has(key)) twice.add(key);
    seen.add(key);
  }
  return [...twice];
}

function finalsById(results: readonly Result[]): Map<string, Result[]> {
  const finals = new Map<string, Result[]>();
  for (const one of results.filter(isFinal)) finals.set(one.id, [...(finals.get(one.id) ?? []), one]);
  return finals;
}

/** A second word on an answer that stood already, and only where the cloud disagreed: no answer to the request. */
const isAudit = (one: Result): boolean => !isFailure(one) && one.reason === 'audit';

const isFinal = (one: Result): boolean => isFailure(one) || !one.provisional;

/** Whether the cloud was asked, as far as the caller could see. */
function isEscalated(given: Result | undefined): boolean {
  return given === undefined || (!isFailure(given) && (given.provisional || given.source === 'cloud'));
}

/** Times, and the last digits of scores, may differ. */
function sameAnswer(one: Result, other: Result): boolean {
  if (isFailure(one) || isFailure(other))
    return isFailure(one) && isFailure(other) && one.error.code === other.error.code;
  return one.source === other.source && sameOutput(one.output, other.output);
}

function sameOutput(one: unknown, other: unknown): boolean {
  if (typeof one === 'number' && typeof other === 'number') return Math.abs(one - other) <= SCORE_TOLERANCE;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null)
    return one === other;
  const [left, right] = [Object.entries(one), new Map(Object.entries(other))];
  return left.length === right.size && left.every(([key, value]) => sameOutput(value, right.get(key)));
}
