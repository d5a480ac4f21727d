/** What an installation has done, in order: told as it happens, so that who waits sees how far it is, and kept for `--json`. */
import { note } from '../output.ts';

/** One step: `kept` was right already. */
export interface Step {
  readonly did: 'made' | 'changed' | 'kept' | 'removed' | 'started' | 'stopped' | 'skipped';
  readonly what: string;
}

/** List of steps that grows. */
export class Steps {
  readonly all: Step[] = [];
  readonly #isQuiet: boolean;

  constructor({ isQuiet }: { readonly isQuiet: boolean }) {
    this.#isQuiet = isQuiet;
  }

  add(did: Step['did'], what: string): void {
    this.all.push({ did, what });
    if (!this.#isQuiet) note(`${did.padEnd(8)} ${what}`);
  }
}
