/**
 * Which Results a sink is given: `when` of its configuration. Pure: time is passed in. Results are judged in the order in which they
 * come; a provisional Result and the final one of its id are one event, so that who was told the first is told the second.
 *
 * A Result passes when a label of it passes `labels` and `minScore`, has been in every Result for the time `for`, what it says is not what
 * was last told (`onChange`), and the last one that passed is `cooldown` ago. When nothing of it is there any more, it is news again.
 */
import { type Answer, isFailure, type Result } from '../../shared/contract/result.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { labelsIn, saysLabels } from '../../shared/tasks/labels-in.ts';

/** Rules of one sink; spans in milliseconds, scores 0..1. */
export interface Rules {
  readonly labels?: readonly string[] | undefined;
  readonly minScore?: number | undefined;
  readonly onChange: boolean;
  readonly cooldown: number;
  readonly for: number;
  readonly failures: boolean;
}

/** Provisional Results whose final one is still to come: far more than an outbox answers at a time. */
const MAX_OPEN = 10_000;

/** Judge of the Results of one pipeline for one sink. */
export class SinkRules {
  readonly #rules: Rules;
  readonly #labels: ReadonlySet<string> | undefined;
  /** Ids whose provisional Result has passed, oldest first. */
  readonly #open = new Set<string>();
  /** Since when each label has been there, in every Result. */
  #since: ReadonlyMap<string, number> = new Map();
  /** What was last told; empty: it has gone since. */
  #told: string | undefined;
  #passedMonoMs = Number.NEGATIVE_INFINITY;
  #failedMonoMs = Number.NEGATIVE_INFINITY;

  constructor(rules: Rules) {
    this.#rules = rules;
    this.#labels = rules.labels && new Set(rules.labels);
  }

  /** @param nowMonoMs never less than at the call before */
  passes(result: Result, nowMonoMs: number): boolean {
    if (isFailure(result)) return this.#open.delete(result.id) || this.#failurePasses(nowMonoMs);
    const says = this.#saidBy(result, nowMonoMs);
    if (!result.provisional) return this.#open.delete(result.id) || this.#isNews(says, nowMonoMs);
    if (!this.#isNews(says, nowMonoMs)) return false;
    this.#open.add(result.id);
    const [oldest] = this.#open;
    if (this.#open.size > MAX_OPEN && oldest !== undefined) this.#open.delete(oldest);
    return true;
  }

  #failurePasses(nowMonoMs: number): boolean {
    if (!this.#rules.failures || nowMonoMs - this.#failedMonoMs < this.#rules.cooldown) return false;
    this.#failedMonoMs = nowMonoMs;
    return true;
  }

  /** What it would tell; undefined: nothing. Labels are followed in every Result, also in those that do not pass. */
  #saidBy(answer: Answer, nowMonoMs: number): string | undefined {
    if (!saysLabels(answer.task))
      return this.#rules.onChange ? sha256Hex(JSON.stringify(answer.output)) : '*';
    const { minScore } = this.#rules;
    const said = labelsIn(answer.task, answer.output);
    const matching = new Set(
      said
        .filter(({ label, score }) => (this.#labels?.has(label) ?? true) && score >= (minScore ?? 0))
        .map(({ label }) => label),
    );
    this.#since = new Map(Array.from(matching, (label) => [label, this.#since.get(label) ?? nowMonoMs]));
    const held = [...matching].filter(
      (label) => nowMonoMs - (this.#since.get(label) ?? nowMonoMs) >= this.#rules.for,
    );
    const isAsked = this.#labels !== undefined || minScore !== undefined || this.#rules.for > 0;
    if (held.length > 0 || !isAsked) return held.sort().join('\n');
    this.#told = '';
    return undefined;
  }

  #isNews(says: string | undefined, nowMonoMs: number): boolean {
    if (says === undefined || (this.#rules.onChange && says === this.#told)) return false;
    if (nowMonoMs - this.#passedMonoMs < this.#rules.cooldown) return false;
    this.#told = says;
    this.#passedMonoMs = nowMonoMs;
    return true;
  }
}
