/**
 * Which requests are in the ledger already, the newest so many: a device asks again when a hub has died between its line and
 * its reply, and the next hub must not charge for it once more.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { tryParseJson } from '../../shared/runtime/json.ts';

const key = z.object({ who: z.string(), requestId: z.string() });
type CountedKey = z.infer<typeof key>;

/** Requests that have been counted lately, at most so many. */
export class Counted {
  readonly #max: number;
  /** Oldest first. */
  readonly #keys = new Set<string>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Reads back what earlier runs have written; a line that cannot be read counts nothing. @param paths newest first */
  async readBack(paths: readonly string[]): Promise<void> {
    let found: CountedKey[] = [];
    for (const path of paths) {
      if (found.length >= this.#max) break;
      found = [...(await keysOf(path)), ...found];
    }
    for (const one of found) this.add(one);
  }

  has(one: CountedKey): boolean {
    return this.#keys.has(textOf(one));
  }

  add(one: CountedKey): void {
    this.#keys.add(textOf(one));
    if (this.#keys.size > this.#max) this.#keys.delete(this.#keys.keys().next().value ?? '');
  }
}

/** Neither a device's id nor a key's has a slash. */
const textOf = ({ who, requestId }: CountedKey): string => `${who}/${requestId}`;

async function keysOf(path: string): Promise<CountedKey[]> {
  const text = await readFile(path, 'utf8');
  return text.split('\n').flatMap((line) => key.safeParse(tryParseJson(Buffer.from(line))).data ?? []);
}
