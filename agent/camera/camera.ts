/**
 * A camera with all that look at it: one source, which runs while anybody does, watched so that one that gives nothing is ended.
 *
 * state  | event                          -> state
 * idle   | the first one looks            -> running (once the run before has ended)
 * running| the last one has left          -> idle; its source is being ended
 * running| the source ends, fails, stalls -> idle; everybody is told, and comes again when they like
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';

/** A picture as it leaves the decoder. */
export interface Frame {
  readonly body: Buffer;
  readonly contentType: string;
}

/** How a look at a camera ended: a file with its last picture, or for a reason. */
export type CameraEnd =
  | { readonly kind: 'ended' }
  | { readonly kind: 'stalled' | 'failed'; readonly error: AppError };

/** Who looks at a camera. */
export interface Watcher {
  /** Which of its outputs. */
  readonly output: string;
  readonly onFrame: (frame: Frame) => void;
  /** A picture that nobody can use. */
  readonly onRefused: (error: AppError) => void;
  /** Nothing more comes; once. */
  readonly onEnd: (end: CameraEnd) => void;
}

/** Runs a source until it ends or the signal aborts; everything of it is gone then. @throws CAMERA_*, FFMPEG_MISSING */
export type RunSource = (
  to: { readonly give: (output: string, frame: Frame) => void; readonly refuse: (error: AppError) => void },
  signal: AbortSignal,
) => Promise<void>;

/** A camera answers, describes its stream and waits for a key frame: 2.7 s here, more for those of other makes. */
const FIRST_FRAME_WITHIN_MS = 15_000;
/** Where it came to nothing each time: a machine that is busy with many must not begin all of them anew for ever. */
const MAX_FIRST_FRAME_MS = 60_000;

/** Camera that several pipelines may look at. */
export class Camera {
  readonly #shown: string;
  readonly #source: RunSource;
  readonly #isReachable: () => Promise<boolean>;
  readonly #stallAfterMs: number;
  readonly #clock: Clock;
  readonly #watchers = new Set<Watcher>();
  /** Doubles with each run that gave nothing. */
  #firstFrameMs = FIRST_FRAME_WITHIN_MS;
  #stop: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: {
    /** For people. */
    readonly shown: string;
    readonly source: RunSource;
    /** Whether anybody listens there. */
    readonly isReachable: () => Promise<boolean>;
    readonly stallAfterMs: number;
    readonly clock: Clock;
  }) {
    this.#shown = options.shown;
    this.#source = options.source;
    this.#isReachable = options.isReachable;
    this.#stallAfterMs = options.stallAfterMs;
    this.#clock = options.clock;
  }

  /** @returns ends the look */
  watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    if (!this.#stop) {
      const stop = new AbortController();
      this.#stop = stop;
      this.#running = this.#running.then(() => this.#run(stop));
    }
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size > 0) return;
      this.#stop?.abort();
      this.#stop = undefined;
    };
  }

  /** Resolves when nothing of it runs any more, or at once while others look. */
  async idle(): Promise<void> {
    if (this.#watchers.size === 0) await this.#running;
  }

  async #run(stop: AbortController): Promise<void> {
    if (stop.signal.aborted) return;
    const end = await this.#watched(stop.signal);
    // Everybody has left meanwhile, and who has come since waits for another run.
    if (this.#stop !== stop) return;
    this.#stop = undefined;
    const told = [...this.#watchers];
    this.#watchers.clear();
    for (const { onEnd } of told) onEnd(end);
  }

  async #watched(stop: AbortSignal): Promise<CameraEnd> {
    const ending = new AbortController();
    const onStop = (): void => ending.abort();
    stop.addEventListener('abort', onStop, { once: true });
    let stalled: AppError | undefined;
    let refused: AppError | undefined;
    const arm = (delayMs: number): (() => void) =>
      this.#clock.after(delayMs, () => {
        stalled = refused ?? this.#nothing(delayMs);
        ending.abort();
      });
    let disarm = arm(Math.max(this.#firstFrameMs, this.#stallAfterMs));
    this.#firstFrameMs = Math.min(2 * this.#firstFrameMs, MAX_FIRST_FRAME_MS);
    const give = (output: string, frame: Frame): void => {
      if (ending.signal.aborted) return;
      disarm();
      disarm = arm(this.#stallAfterMs);
      this.#firstFrameMs = FIRST_FRAME_WITHIN_MS;
      refused = undefined;
      for (const watcher of this.#watchers) if (watcher.output === output) watcher.onFrame(frame);
    };
    const refuse = (error: AppError): void => {
      refused = error;
      for (const { onRefused } of this.#watchers) onRefused(error);
    };
    try {
      await this.#source({ give, refuse }, ending.signal);
      if (!stalled) return { kind: 'ended' };
      if (await this.#isReachable()) return { kind: 'stalled', error: stalled };
      const why = `the camera ${this.#shown}: it does not answer`;
      return { kind: 'failed', error: new AppError('CAMERA_UNREACHABLE', why) };
    } catch (error) {
      return { kind: 'failed', error: toAppError(error) };
    } finally {
      disarm();
      ending.abort();
      stop.removeEventListener('abort', onStop);
    }
  }

  #nothing(delayMs: number): AppError {
    return new AppError(
      'CAMERA_STALLED',
      `the camera ${this.#shown} has given no picture for ${delayMs / 1000} s`,
    );
  }
}
