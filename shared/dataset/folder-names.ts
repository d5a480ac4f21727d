/** Labels as names of folders that every file system takes; two labels never share one. */

const MAX_CHARACTERS = 80;

/** Names by label, each for ever the same within one data set. */
export class FolderNames {
  readonly #names = new Map<string, string>();
  /** Lower case: some file systems do not tell the two apart. */
  readonly #taken = new Set<string>();

  /** Labels by their names. */
  get labels(): Record<string, string> {
    return Object.fromEntries(Array.from(this.#names, ([label, name]) => [name, label]));
  }

  of(label: string): string {
    const known = this.#names.get(label);
    if (known !== undefined) return known;
    // No name of a device (`nul`), none that is hidden, none that ends in a dot.
    const safe = label
      .normalize('NFC')
      .replaceAll(/[^\p{L}\p{N} ,()_-]/gu, '_')
      .trim()
      .slice(0, MAX_CHARACTERS);
    const plain = safe === '' || /^(con|prn|aux|nul|com\d|lpt\d)$/i.test(safe) ? `_${safe}` : safe;
    let name = plain;
    for (let n = 2; this.#taken.has(name.toLowerCase()); n++) name = `${plain}_${n}`;
    this.#taken.add(name.toLowerCase());
    this.#names.set(label, name);
    return name;
  }
}
