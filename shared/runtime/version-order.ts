/** The order of versions of software, as Semantic Versioning 2.0 has it (section 11): `0.3.0-rc.2` is before `0.3.0-rc.10`, and both before `0.3.0`. */

const VERSION = /^v?(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/;

/**
 * Below 0 where the first is older, above 0 where it is newer; builds of a version are one, and `0.3` is `0.3.0`.
 *
 * @returns undefined where one of them is no version
 */
export function compareVersions(one: string, other: string): number | undefined {
  const [first, second] = [VERSION.exec(one), VERSION.exec(other)];
  if (!first || !second) return undefined;
  for (const part of [1, 2, 3]) {
    const difference = Number(first[part] ?? 0) - Number(second[part] ?? 0);
    if (difference !== 0) return difference;
  }
  return comparePreReleases(first[4], second[4]);
}

/** What is released comes after all that came before it. */
function comparePreReleases(one: string | undefined, other: string | undefined): number {
  if (one === undefined || other === undefined)
    return Number(one === undefined) - Number(other === undefined);
  const [ours, theirs] = [one.split('.'), other.split('.')];
  for (const [index, our] of ours.entries()) {
    const their = theirs[index];
    if (their === undefined) return 1;
    const difference = compareIdentifiers(our, their);
    if (difference !== 0) return difference;
  }
  return ours.length - theirs.length;
}

/** Numbers by their size and before words, words by their characters. */
function compareIdentifiers(one: string, other: string): number {
  const [isNumber, isOtherNumber] = [/^\d+$/.test(one), /^\d+$/.test(other)];
  if (isNumber && isOtherNumber) return Number(one) - Number(other);
  if (isNumber !== isOtherNumber) return isNumber ? -1 : 1;
  return one === other ? 0 : one < other ? -1 : 1;
}
