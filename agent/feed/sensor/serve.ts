/** Gives a pipeline what a sensor's feed has for it, one after another, and says meanwhile how the feed is. */
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { AppError } from '../../../shared/runtime/errors.ts';
import type { TakeInput, TellFeed } from '../../ports.ts';
import type { Inbox } from './inbox.ts';

/** Feed to serve. */
export interface Served {
  readonly inbox: Inbox;
  /** Why nothing comes although the source is there. */
  readonly stalled: () => AppError | undefined;
  /** Ends the serving: the source is away, or done. @throws why it is away */
  readonly isOver: () => boolean;
  readonly clock: Clock;
}

/** How soon a silence is noticed. */
const LOOK_EVERY_MS = 500;

/** Resolves when it is over, or the signal aborts. @throws what `isOver` throws */
export async function serve(
  { inbox, stalled, isOver, clock }: Served,
  { take, tell, signal }: { readonly take: TakeInput; readonly tell: TellFeed; readonly signal: AbortSignal },
): Promise<void> {
  let told: string | undefined;
  while (!signal.aborted) {
    const item = inbox.take();
    if (item) {
      await take(item);
      continue;
    }
    if (isOver()) return;
    const why = stalled();
    // A name of the sensor that is silent now and another one then is a change, too.
    if (told !== (why?.message ?? '')) tell(why ? 'stalled' : 'live', why);
    told = why?.message ?? '';
    await inbox.wait(clock, LOOK_EVERY_MS, signal);
  }
}
