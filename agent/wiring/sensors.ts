/** Makes the feeds of sensors: MQTT topics and lines, as windows or as inputs of their own. */
import { basename, resolve } from 'node:path';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import { readAuthority } from '../../shared/runtime/certificate-files.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { CONTENT_TYPES, MAX_INPUT_BYTES, TASKS } from '../../shared/tasks/tasks.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import { type LinesFeedConfig, type MqttFeedConfig, takesWindows } from '../config/sensor.ts';
import { MessageIntake, WindowIntake } from '../feed/sensor/intake.ts';
import { type LinePlace, LineReader } from '../feed/sensor/line-reader.ts';
import { SampledLines, WholeLines } from '../feed/sensor/line-taker.ts';
import { LinesFeed } from '../feed/sensor/lines-feed.ts';
import { MqttFeed } from '../feed/sensor/mqtt-feed.ts';
import { Sampler, type SamplerOptions } from '../feed/sensor/sampler.ts';
import type { Feed } from '../ports.ts';

/** Messages and lines with numbers are small; one that is not is passed over unread. */
const MAX_SAMPLE_BYTES = 256 * 1024;
/** What is larger an MQTT 5 broker keeps to itself; what is smaller comes, so that it is counted. */
const MAX_PACKET_BYTES = 16 * 1024 * 1024;
/** A packet has a topic and properties beside its payload. */
const PACKET_HEAD_BYTES = 64 * 1024;
/** Of windows the newest counts, of messages this many wait. */
const MAX_MESSAGES = 100;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Of topics or columns in a label; a Result carries it. */
const MAX_SOURCE_CHARACTERS = 120;

/** What the feeds of sensors need of the agent. */
export interface SensorParts {
  readonly device: string;
  readonly baseDir: string;
  readonly once: boolean;
  /** Where a file that is followed is remembered. */
  readonly statePath: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onDropped: (reason: string) => void;
}

/** Feed of MQTT topics. */
export function createMqttFeed(
  { name, task }: Pick<PipelineConfig, 'name' | 'task'>,
  feed: MqttFeedConfig,
  { device, baseDir, clock, logger, onDropped }: SensorParts,
): Feed {
  const { inputKind } = TASKS[task];
  const isWindowed = takesWindows(task);
  const maxBytes = isWindowed ? MAX_SAMPLE_BYTES : MAX_INPUT_BYTES[inputKind];
  const url = new URL(feed.url);
  const { channels, stalledAfter: stalledAfterMs } = feed;
  const places = channels.map(({ topic, path }) => ({ topic, path }));
  const topics = [...new Set(channels.map(({ topic }) => topic))];
  return new MqttFeed({
    connect: async () => {
      // Read anew after each failure: it may have been put in its place meanwhile.
      const ca = feed.ca === undefined ? undefined : await readAuthority(resolve(baseDir, feed.ca));
      return connectMqtt({
        url: feed.url,
        clientId: `${device}-${name}-feed`,
        username: feed.username ?? decodeURIComponent(url.username),
        password: feed.password ?? decodeURIComponent(url.password),
        ...(ca !== undefined && { trust: () => ({ ca }) }),
        // What was said while nobody listened is old.
        cleanSession: true,
        maxIncomingBytes: Math.max(MAX_PACKET_BYTES, maxBytes + PACKET_HEAD_BYTES),
        logger,
        clock,
      });
    },
    filters: topics,
    intake: (inbox) =>
      isWindowed
        ? new WindowIntake(samplerOf(feed, topics, channels.map(nameOfTopic), { clock, onDropped }), inbox, {
            channels: places,
            time: typeof feed.time === 'string' ? feed.time : undefined,
          })
        : new MessageIntake(inbox, {
            sources: places,
            kind: inputKind,
            contentType: CONTENT_TYPES[inputKind],
            ...{ stalledAfterMs, clock, onDropped },
          }),
    inbox: { maxItems: isWindowed ? 1 : MAX_MESSAGES, maxBytes: MAX_WAITING_BYTES, onDropped },
    maxBytes,
    clock,
    onDropped,
  });
}

/** Feed of a command's or file's lines. */
export function createLinesFeed(
  { task }: Pick<PipelineConfig, 'task'>,
  feed: LinesFeedConfig,
  { baseDir, once, statePath, clock, logger, onDropped }: SensorParts,
): Feed {
  const { inputKind } = TASKS[task];
  const isWindowed = takesWindows(task);
  const maxBytes = isWindowed ? MAX_SAMPLE_BYTES : MAX_INPUT_BYTES[inputKind];
  const { channels = [], command, time, stalledAfter: stalledAfterMs } = feed;
  const source = basename(command?.[0] ?? feed.path ?? '');
  const timePlace = time === undefined ? [] : [timeOf(time, channels)];
  const places = [...channels.map(placeOf), ...timePlace];
  const reader = places.length > 0 ? new LineReader(places, feed.delimiter) : undefined;
  const taker =
    isWindowed && reader
      ? new SampledLines(
          reader,
          samplerOf(feed, [source], channels.map(nameOfPlace(source)), { clock, onDropped }),
          channels.length,
        )
      : new WholeLines({
          ...{ reader, source, stalledAfterMs, clock, onDropped },
          contentType: CONTENT_TYPES[inputKind],
        });
  return new LinesFeed({
    source: command
      ? { kind: 'command', command: { command, folder: baseDir, maxBytes, clock, logger } }
      : {
          kind: 'file',
          file: {
            path: resolve(baseDir, feed.path ?? ''),
            repeatPaceMs: feed.repeat?.pace,
            ...{ once, follow: feed.follow, statePath, maxBytes, clock, logger, onDropped },
          },
        },
    reader,
    taker,
    once,
    inbox: { maxItems: isWindowed ? 1 : MAX_MESSAGES, maxBytes: MAX_WAITING_BYTES, onDropped },
  });
}

type LineChannel = NonNullable<LinesFeedConfig['channels']>[number];

const placeOf = ({ column, path }: LineChannel): LinePlace =>
  column === undefined ? { path: path ?? '' } : { column };

/** A path where the channels have paths, a column where they have columns. */
const timeOf = (time: string | number, [first]: readonly LineChannel[]): LinePlace =>
  typeof time === 'string' && first?.path !== undefined ? { path: time } : { column: time };

const nameOfTopic = ({ topic, path }: MqttFeedConfig['channels'][number]): string =>
  path === undefined ? topic : `${topic} ${path}`;

const nameOfPlace =
  (source: string) =>
  ({ column, path }: LineChannel): string =>
    `${source} ${column ?? path}`;

function samplerOf(
  feed: MqttFeedConfig | LinesFeedConfig,
  sources: readonly string[],
  names: readonly string[],
  { clock, onDropped }: Pick<SensorParts, 'clock' | 'onDropped'>,
): Sampler {
  const all = sources.join(' + ');
  return new Sampler({
    channels: (feed.channels ?? []).map(({ scale, offset }, index) => ({
      ...{ name: names[index] ?? '', scale, offset },
    })),
    windows: windowsOf(feed),
    isTimed: feed.time !== undefined,
    source: all.length > MAX_SOURCE_CHARACTERS ? `${all.slice(0, MAX_SOURCE_CHARACTERS - 1)}…` : all,
    stalledAfterMs: feed.stalledAfter,
    clock,
    onDropped,
  });
}

function windowsOf({
  window = {},
  missing,
  join: joinMs,
  late: lateMs,
  maxGap: maxGapMs,
}: MqttFeedConfig | LinesFeedConfig): SamplerOptions['windows'] {
  const common = { missing, joinMs, lateMs, maxGapMs };
  const { count = 1, time, hop, rate = 1 } = window;
  if (time === undefined) return { ...common, count, hop: typeof hop === 'number' ? hop : count };
  return { ...common, timeMs: time, hopMs: typeof hop === 'object' ? hop.ms : time, rate };
}
