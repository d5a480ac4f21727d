/** What a feed reads, in a few words for people: no folders of the disk, no credentials. */
import { basename } from 'node:path';
import { hostOf } from '../../shared/runtime/host-of.ts';
import type { PipelineConfig } from '../config/pipeline.ts';

const MAX_TOPICS = 3;

/** @returns undefined of a camera, which says it itself, with what it gives */
export function aboutFeed(feed: NonNullable<PipelineConfig['feed']>): string | undefined {
  switch (feed.type) {
    case 'camera':
      return undefined;
    case 'mqtt': {
      const topics = [...new Set(feed.channels.map(({ topic }) => topic))];
      const more = topics.length > MAX_TOPICS ? ` and ${topics.length - MAX_TOPICS} more` : '';
      return `${hostOf(feed.url)}: ${topics.slice(0, MAX_TOPICS).join(', ')}${more}`;
    }
    case 'lines':
      return feed.command ? `command ${basename(feed.command[0] ?? '')}` : basename(feed.path ?? '');
    case 'text-lines':
    case 'folder':
      return basename(feed.path);
  }
}
