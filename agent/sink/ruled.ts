/** A sink behind the rules of its configuration. */
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Sink } from '../ports.ts';
import { type Rules, SinkRules } from './rules.ts';

/** The same sink, given only what passes; as it is where there are no rules. */
export function ruled(sink: Sink, rules: Rules | undefined, clock: Clock): Sink {
  if (!rules) return sink;
  const judge = new SinkRules(rules);
  return {
    name: sink.name,
    ...(sink.type && { type: sink.type }),
    wants: (result) => judge.passes(result, clock.nowMonoMs()),
    put: (result) => sink.put(result),
    ...(sink.tell && { tell: sink.tell }),
  };
}
