/** What somebody may have meant who wrote a name that is not there: offered only where it is near, because a far one misleads. Pure. */

/** Letters of a name for each slip of the hand. */
const LETTERS_A_SLIP = 4;
/** Nobody is offered names that are longer. */
const MAX_LENGTH = 100;

/**
 * The name that was meant: the one with the fewest slips (a letter too many, too few, another one, two changed places), one for each four
 * letters at most.
 *
 * @returns undefined where none is near, or several are as near
 */
export function nearest(word: string, names: Iterable<string>): string | undefined {
  const given = word.toLowerCase();
  const all = [...names];
  // A beginning may be that of any of them.
  if (all.filter((name) => name.toLowerCase().startsWith(given)).length > 1) return undefined;
  let found: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const name of all) {
    const slips = slipsBetween(given, name.toLowerCase());
    const most = Math.max(1, Math.floor(Math.max(word.length, name.length) / LETTERS_A_SLIP));
    if (slips > most || slips > least) continue;
    found = slips === least ? undefined : name;
    least = slips;
  }
  return found;
}

/** `; did you mean “push”?`, or nothing. */
export function orNearest(word: string, names: Iterable<string>): string {
  const name = nearest(word, names);
  return name === undefined ? '' : `; did you mean “${name}”?`;
}

/** Optimal string alignment: an edit distance in which two neighbours that changed places are one slip. */
function slipsBetween(one: string, other: string): number {
  if (Math.max(one.length, other.length) > MAX_LENGTH) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let row = 1; row <= one.length; row++) {
    const next = [row];
    for (let at = 1; at <= other.length; at++) {
      const isSame = one[row - 1] === other[at - 1];
      let slips = Math.min(
        (last[at] ?? 0) + 1,
        (next[at - 1] ?? 0) + 1,
        (last[at - 1] ?? 0) + (isSame ? 0 : 1),
      );
      if (row > 1 && at > 1 && one[row - 1] === other[at - 2] && one[row - 2] === other[at - 1])
        slips = Math.min(slips, (before[at - 2] ?? 0) + 1);
      next.push(slips);
    }
    [before, last] = [last, next];
  }
  return last[other.length] ?? 0;
}
