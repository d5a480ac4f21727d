/**
 * Which files of a folder are new and whole, in the order in which they became so. A writer cannot be asked whether it is done: a file
 * counts as whole when nobody has written to it for a while, or when it came under its name as a whole.
 *
 * state    | event                          -> state
 * -        | touched                        -> touched
 * touched  | looked at: it grows, or may    -> settling
 * touched  | looked at: whole               -> ready
 * settling | as it was, `settleMs` later    -> ready
 * settling | touched                        -> touched
 * ready    | taken                          -> -
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import type { FileName } from './file-name.ts';
import type { Look } from './whole-file.ts';

/** What the kernel has said of a name. */
export interface Touch {
  /** It came or went. */
  readonly isNamed: boolean;
  /** It was written to, or its rights were changed. */
  readonly isWritten: boolean;
}

/** Files on their way from touched to ready, by name. */
export class FreshFiles {
  readonly #settleMs: number;
  readonly #clock: Clock;
  readonly #touched = new Map<FileName, Touch>();
  /** All wait equally long: the first one is due first. */
  readonly #settling = new Map<FileName, { readonly mark: string; readonly dueMonoMs: number }>();
  readonly #ready = new Set<FileName>();

  constructor({ settleMs, clock }: { readonly settleMs: number; readonly clock: Clock }) {
    this.#settleMs = settleMs;
    this.#clock = clock;
  }

  touch(name: FileName, isNamed: boolean): void {
    const before = this.#touched.get(name);
    this.#touched.set(name, {
      isNamed: isNamed || before?.isNamed === true,
      isWritten: !isNamed || before?.isWritten === true,
    });
  }

  isTouched(name: FileName): boolean {
    return this.#touched.has(name);
  }

  /** Empties what was touched. */
  takeTouched(): [FileName, Touch][] {
    const touched = [...this.#touched];
    this.#touched.clear();
    return touched;
  }

  /** It has been seen with something new in it. @param how it came under its name as a whole; somebody has just written to it */
  seen(name: FileName, look: Look, how: 'found' | 'closed' | 'written' = 'found'): void {
    if (how === 'closed' || this.isStill(look)) {
      this.#makeReady(name);
      return;
    }
    if (how === 'found' && this.#settling.get(name)?.mark === look.mark) return;
    this.#ready.delete(name);
    this.#settling.delete(name);
    this.#settling.set(name, { mark: look.mark, dueMonoMs: this.#clock.nowMonoMs() + this.#settleMs });
  }

  /** Who is due; the caller says by `stillThere` or `forget` what it has found. */
  due(): FileName[] {
    const now = this.#clock.nowMonoMs();
    const due: FileName[] = [];
    for (const [name, { dueMonoMs }] of this.#settling) {
      if (dueMonoMs > now) break;
      due.push(name);
    }
    return due;
  }

  /** What a file that is due looks like now. */
  stillThere(name: FileName, look: Look): void {
    if (this.#settling.get(name)?.mark === look.mark) this.#makeReady(name);
    else this.seen(name, look);
  }

  forget(name: FileName): void {
    this.#settling.delete(name);
    this.#ready.delete(name);
  }

  /** The next whole file; it is out of here then. */
  next(): FileName | undefined {
    const { value } = this.#ready.values().next();
    if (value !== undefined) this.#ready.delete(value);
    return value;
  }

  /** When `due` has somebody; undefined: never. */
  get dueMonoMs(): number | undefined {
    const first = this.#settling.values().next();
    return first.done ? undefined : first.value.dueMonoMs;
  }

  get hasTouched(): boolean {
    return this.#touched.size > 0;
  }

  /** By the clock of this machine; what it says of a time to come proves nothing. */
  isStill({ writtenAtMs, changedAtMs }: Look): boolean {
    return this.#clock.nowAtMs() - Math.max(writtenAtMs, changedAtMs) >= this.#settleMs;
  }

  #makeReady(name: FileName): void {
    this.#settling.delete(name);
    this.#ready.add(name);
  }
}
