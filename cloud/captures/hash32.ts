/** Many independent hashes of short texts, for minima over runs of words; not for anything that an enemy may choose. */

/** FNV-1a with a start of its own for each `seed`, mixed at its end as MurmurHash3 does; 32 bits. */
export function hash32(text: string, seed: number): number {
  let hash = (0x811c9dc5 ^ Math.imul(seed + 1, 0x9e3779b1)) >>> 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
