/**
 * A camera as the feed of a pipeline: the newest picture wins, still ones are passed over where that is wanted, and outside of its hours
 * nobody looks.
 */
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { isInDailyWindow } from '../../shared/runtime/daily-window.ts';
import type { Feed, TakeInput, TellFeed } from '../ports.ts';
import type { Camera, CameraEnd, Frame } from './camera.ts';
import type { MotionGate } from './motion.ts';

/** What a pipeline wants of a camera. */
export interface CameraFeedOptions {
  /** By which results name its pictures. */
  readonly name: string;
  readonly camera: Camera;
  /** Which of its outputs. */
  readonly output: string;
  readonly motion: MotionGate | undefined;
  /** Has passed `isDailyWindow`; undefined: always. */
  readonly active: string | undefined;
  readonly timeZone: string | undefined;
  /** One picture of a live camera, and a file once. */
  readonly once: boolean;
  readonly isFile: boolean;
  readonly clock: Clock;
  readonly onDropped: (reason: string) => void;
}

/** A camera that stalls is connected again: soon, and less often while it goes on. */
const RETRY = { firstMs: 1_000, maxMs: 10_000 };
const LOOK_AT_CLOCK_MS = 5_000;

/** Feed of a camera’s pictures. */
export class CameraFeed implements Feed {
  readonly #o: CameraFeedOptions;

  constructor(options: CameraFeedOptions) {
    this.#o = options;
  }

  async run(take: TakeInput, signal: AbortSignal, tell: TellFeed = () => undefined): Promise<void> {
    const { clock, once } = this.#o;
    let attempt = 0;
    const onLive = (): void => {
      attempt = 0;
    };
    while (!signal.aborted) {
      if (!this.#isActive()) {
        tell('asleep');
        if (once) return;
        await clock.sleep(LOOK_AT_CLOCK_MS, signal).catch(() => undefined);
        continue;
      }
      const end = await this.#see(take, signal, { tell, onLive });
      if (end === 'asleep') continue;
      if (end === 'done' || end.kind === 'ended') return;
      if (end.kind === 'failed') throw end.error;
      tell('stalled', end.error);
      await clock.sleep(backoffDelayMs(attempt++, RETRY), signal).catch(() => undefined);
    }
  }

  /** Looks at the camera as long as it gives pictures. */
  async #see(
    take: TakeInput,
    signal: AbortSignal,
    { tell, onLive }: { readonly tell: TellFeed; readonly onLive: () => void },
  ): Promise<CameraEnd | 'asleep' | 'done'> {
    const { camera, output, clock, onDropped, once, isFile } = this.#o;
    let newest: Frame | undefined;
    let end: CameraEnd | undefined;
    let wake = (): void => undefined;
    const leave = camera.watch({
      output,
      onFrame: (frame) => {
        if (newest) onDropped('passed-over');
        newest = frame;
        wake();
      },
      onRefused: ({ code }) => onDropped(code),
      onEnd: (how) => {
        end = how;
        wake();
      },
    });
    const onAbort = (): void => wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        if (!this.#isActive()) return 'asleep';
        const frame: Frame | undefined = newest;
        newest = undefined;
        if (frame) {
          onLive();
          if ((await this.#give(frame, take, tell)) && once && !isFile) return 'done';
        } else if (end) return end;
        else
          await new Promise<void>((resolve) => {
            const cancel = clock.after(LOOK_AT_CLOCK_MS, () => wake());
            wake = () => {
              cancel();
              wake = () => undefined;
              resolve();
            };
          });
      }
      return 'done';
    } finally {
      signal.removeEventListener('abort', onAbort);
      leave();
      if (signal.aborted) await camera.idle();
    }
  }

  /** @returns whether it was taken */
  async #give(frame: Frame, take: TakeInput, tell: TellFeed): Promise<boolean> {
    const { motion, name, clock, onDropped } = this.#o;
    const movement = motion?.look(frame.body) ?? 'moved';
    tell(movement === 'moved' ? 'live' : 'still');
    if (movement === 'still') {
      onDropped('still');
      return false;
    }
    const at = new Date(clock.nowAtMs()).toISOString();
    const label = `${name} ${at}${movement === 'moved' ? '' : ' (still)'}`;
    await take({ input: { contentType: frame.contentType, body: frame.body }, label });
    return true;
  }

  #isActive(): boolean {
    const { active, timeZone, clock } = this.#o;
    return active === undefined || isInDailyWindow(active, clock.nowAtMs(), timeZone);
  }
}
