/** Makes the feed that a pipeline's configuration asks for. */
import { extname, join, resolve } from 'node:path';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { CONTENT_TYPES, MAX_INPUT_BYTES, TASKS } from '../../shared/tasks/tasks.ts';
import type { AgentConfig, PipelineConfig } from '../config.ts';
import { FolderFeed } from '../feed/folder.ts';
import { TextLinesFeed } from '../feed/text-lines.ts';
import type { Feed } from '../ports.ts';

const IMAGE_TYPES: Record<string, string> = {
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.gif': 'image/gif',
  '.tif': 'image/tiff',
  '.tiff': 'image/tiff',
  '.avif': 'image/avif',
};

export interface FeedParts {
  readonly config: AgentConfig;
  readonly stateDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** @returns undefined for a pipeline that is asked over HTTP only */
export function createFeed(
  pipeline: PipelineConfig,
  { config, stateDir, clock, logger, metrics }: FeedParts,
): Feed | undefined {
  const { feed, name, task } = pipeline;
  if (!feed) return undefined;
  const path = resolve(config.baseDir, feed.path);
  const repeatPaceMs = feed.repeat?.pace;
  switch (feed.type) {
    case 'text-lines':
      return new TextLinesFeed({ path, repeatPaceMs, once: config.once, clock });
    case 'folder': {
      const { inputKind } = TASKS[task];
      return new FolderFeed({
        path,
        repeatPaceMs,
        once: config.once,
        after: feed.after,
        moveTo: resolve(config.baseDir, feed.moveTo ?? join(feed.path, 'done')),
        statePath: join(stateDir, `${name}.json`),
        maxBytes: MAX_INPUT_BYTES[inputKind],
        contentType: (file) =>
          (inputKind === 'image' ? IMAGE_TYPES[extname(file).toLowerCase()] : undefined) ??
          CONTENT_TYPES[inputKind],
        clock,
        logger,
        onDropped: (reason) => metrics.count('outrider_feed_dropped_total', { pipeline: name, reason }),
      });
    }
  }
}
