/** Turns: so many pieces of work at a time, and a bounded number that wait for theirs. */
import { AppError } from '../../../shared/runtime/errors.ts';

const MAX_AT_WORK = 64;
const MAX_WAITING = 1_000;

/** Turns of one engine. */
export class Turns {
  #atWork = 0;
  readonly #waiting: (() => void)[] = [];

  /** @throws QUEUE_FULL, and what the work throws */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#atWork >= MAX_AT_WORK) {
      if (this.#waiting.length >= MAX_WAITING)
        throw new AppError('QUEUE_FULL', `${MAX_WAITING} requests wait for this engine`);
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    } else this.#atWork += 1;
    try {
      return await work();
    } finally {
      // Whose turn is next takes this one's place.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#atWork -= 1;
    }
  }
}
