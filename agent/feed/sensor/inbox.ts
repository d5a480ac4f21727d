/** Inputs that wait for their pipeline: few, because what a sensor says is soon old. The newest stay, and what had to go is counted. */
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { FeedItem } from '../../ports.ts';

/** How much may wait, and who hears of what may not. */
export interface InboxOptions {
  readonly maxItems: number;
  readonly maxBytes: number;
  readonly onDropped: (reason: string) => void;
}

/** Queue of inputs whose oldest go when it is full. */
export class Inbox {
  readonly #o: InboxOptions;
  #items: FeedItem[] = [];
  #bytes = 0;
  #wake: () => void = () => undefined;

  constructor(options: InboxOptions) {
    this.#o = options;
  }

  put(item: FeedItem): void {
    this.#items.push(item);
    this.#bytes += item.input.body.length;
    const { maxItems, maxBytes, onDropped } = this.#o;
    while (this.#items.length > 1 && (this.#items.length > maxItems || this.#bytes > maxBytes)) {
      this.take();
      onDropped('newer');
    }
    this.#wake();
  }

  /** The oldest. */
  take(): FeedItem | undefined {
    const item = this.#items.shift();
    this.#bytes -= item?.input.body.length ?? 0;
    return item;
  }

  /** Ends a wait: something else has changed. */
  wake(): void {
    this.#wake();
  }

  /** Resolves when something is put in from now on, it is woken, or the time is over. */
  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        this.#wake = () => undefined;
        resolve();
      };
      const cancel = clock.after(ms, done);
      signal.addEventListener('abort', done, { once: true });
      this.#wake = done;
    });
  }
}
