/**
 * How many versions are tried at a time: each is one model more in memory. A trial without inputs gives its place to a version that has had none
 * yet, so that a camera in the dark holds nobody up; it has done so once, then it waits for a place that is free.
 */
import { AppError } from '../../shared/runtime/errors.ts';

interface Waiting {
  readonly isNew: boolean;
  readonly enter: () => void;
}

/** Places for trials. */
export class TrialPlaces {
  readonly #places: number;
  #taken = 0;
  #waiting: Waiting[] = [];

  constructor(places: number) {
    this.#places = places;
  }

  /** Whether somebody waits who has had no place yet. */
  get isWantedByNew(): boolean {
    return this.#waiting.some(({ isNew }) => isNew);
  }

  /**
   * Waits for a place.
   *
   * @param isNew it has had none yet: those come first
   * @returns how to give it back
   * @throws STOPPING
   */
  async take(isNew: boolean, signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw new AppError('STOPPING');
    if (this.#taken < this.#places) this.#taken++;
    else await this.#wait(isNew, signal);
    let isGiven = false;
    return () => {
      if (isGiven) return;
      isGiven = true;
      const next = this.#waiting.find((one) => one.isNew) ?? this.#waiting[0];
      if (!next) this.#taken--;
      else {
        this.#waiting = this.#waiting.filter((one) => one !== next);
        next.enter();
      }
    };
  }

  #wait(isNew: boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        isNew,
        enter: () => {
          signal.removeEventListener('abort', stop);
          resolve();
        },
      };
      const stop = (): void => {
        this.#waiting = this.#waiting.filter((one) => one !== waiting);
        reject(new AppError('STOPPING'));
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#waiting.push(waiting);
    });
  }
}
