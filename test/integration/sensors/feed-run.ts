/** Runs the feed that a configuration asks for, as the agent does, and sees what it gives, drops and says. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type AgentConfig, loadConfig } from '../../../agent/config.ts';
import { FeedRunner } from '../../../agent/feed/feed-runner.ts';
import { FeedStates } from '../../../agent/feed/feed-states.ts';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import type { FeedItem } from '../../../agent/ports.ts';
import { createFeed } from '../../../agent/wiring/feeds.ts';
import type { FeedStatus } from '../../../shared/contract/feed-status.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { eventually } from '../../support/programs.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

/** Two with one name would throw each other out. */
let devices = 0;

/** The configuration of one pipeline with this feed. */
export async function configured(
  folder: string,
  task: string,
  feed: object,
  flags: string[] = [],
): Promise<AgentConfig> {
  const path = join(folder, 'outrider.yaml');
  await writeFile(
    path,
    JSON.stringify({ device: `gate-${++devices}`, pipelines: [{ name: 'one', task, cloud: 'big', feed }] }),
  );
  return (await loadConfig(['--config', path, ...flags], {})) as AgentConfig;
}

export async function runFeed(
  t: TestContext,
  of: {
    readonly task?: string;
    readonly feed: object;
    readonly folder?: string;
    readonly flags?: string[];
    /** Takes an input; at once, when left out. */
    readonly onItem?: (item: FeedItem) => Promise<void>;
  },
) {
  const folder = of.folder ?? (await temporaryFolder(t));
  const config = await configured(folder, of.task ?? 'time-series-classification', of.feed, of.flags);
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const states = new FeedStates({ clock: systemClock, logger });
  const taken: FeedItem[] = [];
  const feed = createFeed(
    config.pipelines[0]!,
    config,
    { dataDir: join(folder, 'data'), clock: systemClock, logger, metrics },
    { onPassedOver: () => states.dropped('one') },
  )!;
  const take = async (item: FeedItem): Promise<undefined> => {
    taken.push(item);
    await of.onItem?.(item);
    return undefined;
  };
  const runner = new FeedRunner({ runs: [{ name: 'one', feed, take }], states, clock: systemClock });
  runner.start();
  t.after(() => runner.stop());
  const status = (): FeedStatus => states.of('one')!;
  return {
    taken,
    logger,
    folder,
    runner,
    status,
    values: () => taken.map(({ input }) => JSON.parse(Buffer.from(input.body).toString()).values),
    texts: () => taken.map(({ input }) => Buffer.from(input.body).toString()),
    /** Of the reasons why something was passed over. */
    async dropped(): Promise<Record<string, number>> {
      const lines = (await metrics.text()).matchAll(
        /outrider_feed_dropped_total\{.*reason="([^"]+)"\} (\d+)/g,
      );
      return Object.fromEntries(Array.from(lines, ([, reason, count]) => [reason, Number(count)]));
    },
    until: (is: (now: FeedStatus) => boolean, why: string) => eventually(() => is(status()), why, 20_000),
  };
}
