/** Which states kills have met, for people and for whoever aims the next one. */
import type { Random } from '../../shared/runtime/random.ts';

/** Counts one more. */
export const add = (of: Record<string, number>, name: string): void => {
  of[name] = (of[name] ?? 0) + 1;
};

/** One of the states that were met least. */
export function leastMet<State extends string>(
  states: readonly State[],
  met: Readonly<Record<string, number>>,
  random: Random,
): State {
  const least = Math.min(...states.map((state) => met[state] ?? 0));
  return random.pick(states.filter((state) => (met[state] ?? 0) <= least + 1));
}

/** `agent 3, hub 2` */
export const counted = (of: Readonly<Record<string, number>>): string =>
  Object.entries(of)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');

const MAX_TOLD = 20;

/** What was found, each on a line of its own. */
export const outcome = (what: string, found: readonly string[]): string =>
  [`${found.length} ${what}`, ...found.slice(0, MAX_TOLD).map((line) => `  ${line}`)].join('\n');

/** A line for each state, in their order. */
export function histogram(states: readonly string[], met: Readonly<Record<string, number>>): string {
  const most = Math.max(1, ...Object.values(met));
  const width = Math.max(...states.map(({ length }) => length));
  return states
    .map((state) => {
      const count = met[state] ?? 0;
      return `  ${state.padEnd(width)} ${String(count).padStart(4)} ${'█'.repeat(Math.round((40 * count) / most))}`;
    })
    .join('\n');
}
