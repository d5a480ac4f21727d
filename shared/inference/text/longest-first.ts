/** How two texts are cut to the room that both have together: the longer one first, as tokenizers does it. Pure. */

/**
 * tokenizers, `truncate_encodings`, TruncationStrategy::LongestFirst.
 *
 * @param room for tokens of both
 * @returns how many tokens of each stay
 */
export function longestFirst(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second];
  const [shorter, longer] = first <= second ? [first, second] : [second, first];
  let [least, most] = [shorter, shorter > room ? shorter : Math.max(shorter, room - shorter)];
  if (least + most > room) {
    least = Math.floor(room / 2);
    most = room - least;
  }
  const kept = [Math.min(least, shorter), Math.min(most, longer)] as const;
  return first <= second ? [kept[0], kept[1]] : [kept[1], kept[0]];
}
