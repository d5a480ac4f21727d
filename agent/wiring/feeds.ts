/** Makes the feeds that the configuration asks for, and lets them run until they end or the agent stops. */
import { extname, join, resolve } from 'node:path';
import { isFailure } from '../../shared/contract/result.ts';
import { isChild, tellParent } from '../../shared/runtime/program.ts';
import { CONTENT_TYPES, MAX_INPUT_BYTES, TASKS } from '../../shared/tasks/tasks.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { AgentConfig } from '../config.ts';
import { FeedRunner } from '../feed/feed-runner.ts';
import type { FeedStates } from '../feed/feed-states.ts';
import { FolderFeed } from '../feed/folder.ts';
import { TextLinesFeed } from '../feed/text-lines.ts';
import { showFeeds } from '../metrics.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { Feed, FeedItem } from '../ports.ts';
import { Cameras, type SizeOf } from './cameras.ts';
import { aboutFeed } from './feed-about.ts';
import type { AgentProgram } from './program.ts';
import { createLinesFeed, createMqttFeed } from './sensors.ts';

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

/** With `--once`: how long to wait for what the cloud owes; the rest stays in the outbox. */
const ONCE_WAIT_MS = 60_000;

/** Starts the feed of each pipeline that has one. */
export async function startFeeds(
  config: AgentConfig,
  program: AgentProgram,
  pipelines: ReadonlyMap<string, Pipeline>,
  { states, sizeOf }: { readonly states: FeedStates; readonly sizeOf: SizeOf },
): Promise<FeedRunner> {
  const cameras = new Cameras(config, program.clock, sizeOf);
  const runs = config.pipelines.flatMap((one) => {
    const pipeline = pipelines.get(one.name);
    const feed = createFeed(one, config, program, {
      onPassedOver: () => states.dropped(one.name),
      shown: (text) => pipeline?.shown(text) ?? text,
      cameras,
    });
    if (!feed || !pipeline) return [];
    const about = one.feed && aboutFeed(one.feed);
    states.describe(one.name, () => feed.about ?? about);
    const take = async (item: FeedItem, signal: AbortSignal) => {
      const result = await pipeline.process(item, signal);
      return result && isFailure(result) ? result.error.code : undefined;
    };
    return [{ name: one.name, feed, take }];
  });
  const feeds = new FeedRunner({ runs, states, clock: program.clock });
  showFeeds(program.metrics, states);
  await program.lifecycle.start('feeds', feeds);
  return feeds;
}

/** Ends the agent with `--once`, when the feeds have ended and nothing is owed; a parent ends us, alone we end ourselves. */
export async function finishWhenDone(
  feeds: FeedRunner,
  { clock }: AgentProgram,
  owed: () => number,
  finish: () => void,
): Promise<void> {
  await feeds.ended();
  const untilMonoMs = clock.nowMonoMs() + ONCE_WAIT_MS;
  while (owed() > 0 && clock.nowMonoMs() < untilMonoMs) await clock.sleep(50, undefined, true);
  if (isChild()) tellParent({ type: 'finished' });
  else finish();
}

/** Why the device does not get all of its inputs now; undefined when it does. */
export function feedDown({ down }: Pick<FeedStates, 'down'>): string | undefined {
  return down && `the feed of ${down.name}: ${down.status.reason?.message ?? down.status.state}`;
}

/** What a feed tells and asks of those around it. */
interface FeedHooks {
  /** An input was passed over. */
  readonly onPassedOver?: () => void;
  /** What people may see of a text. */
  readonly shown?: (text: string) => string;
  /** All of this device; pipelines share them. */
  readonly cameras?: Cameras;
}

/** @returns undefined for a pipeline that is asked over HTTP only */
export function createFeed(
  pipeline: PipelineConfig,
  config: AgentConfig,
  { dataDir, clock, logger, metrics }: Omit<AgentProgram, 'lifecycle' | 'stop'>,
  { onPassedOver, shown, cameras = new Cameras(config, clock) }: FeedHooks = {},
): Feed | undefined {
  const { feed, name, task } = pipeline;
  if (!feed) return undefined;
  const maxBytes = MAX_INPUT_BYTES[TASKS[task].inputKind];
  const statePath = (ending: string): string => join(dataDir, 'feeds', `${name}.${ending}`);
  const onDropped = (reason: string): void => {
    onPassedOver?.();
    metrics.count('outrider_feed_dropped_total', { pipeline: name, reason });
  };
  if (feed.type === 'camera') return cameras.feedOf(pipeline, feed, onDropped);
  if (feed.type === 'mqtt' || feed.type === 'lines') {
    const { device, baseDir, once } = config;
    const parts = { device, baseDir, once, statePath: statePath('json'), clock, logger, onDropped };
    return feed.type === 'mqtt'
      ? createMqttFeed(pipeline, feed, parts)
      : createLinesFeed(pipeline, feed, parts);
  }
  const path = resolve(config.baseDir, feed.path);
  const repeatPaceMs = feed.repeat?.pace;
  switch (feed.type) {
    case 'text-lines':
      return new TextLinesFeed({
        path,
        repeatPaceMs,
        once: config.once,
        follow: feed.follow,
        statePath: statePath('json'),
        maxBytes,
        shown,
        clock,
        logger,
        onDropped,
      });
    case 'folder': {
      const { inputKind } = TASKS[task];
      return new FolderFeed({
        path,
        repeatPaceMs,
        once: config.once,
        recursive: feed.recursive,
        settleMs: feed.settle,
        after: feed.after,
        moveTo: resolve(config.baseDir, feed.moveTo ?? join(feed.path, 'done')),
        statePath: statePath('ndjson'),
        maxBytes,
        contentType: (file) =>
          (inputKind === 'image' ? IMAGE_TYPES[extname(file).toLowerCase()] : undefined) ??
          CONTENT_TYPES[inputKind],
        clock,
        logger,
        onDropped,
      });
    }
  }
}
