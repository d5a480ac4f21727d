/** What the hub is told of a feed. */
import type { FeedStatus } from '../../shared/contract/feed-status.ts';
import type { Reported } from '../../shared/contract/messages.ts';
import { withoutPaths } from '../../shared/runtime/disk-paths.ts';

/** State of a feed without what only the device itself needs: no paths of its disk, and no word of each movement before a camera. */
export function toldFeed(status: FeedStatus | undefined): Reported['pipelines'][number]['feed'] {
  if (!status) return undefined;
  const { state, reason, sinceAtMs } = status;
  return {
    state: state === 'still' ? 'live' : state,
    reason: reason && { code: reason.code, message: withoutPaths(reason.message) },
    sinceAtMs,
  };
}
