/** Sensors as sources of a pipeline's inputs: `type: mqtt` and `type: lines` of `feed` in `outrider.yaml`. */
import { parsePath } from 'dot-prop';
import { z } from 'zod';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import { duration, mqttUrl, repeat } from './quantities.ts';

/** Sensors of home automation speak seldom; one that does not for so long is worth a look. */
const DEFAULT_STALLED_MS = 5 * 60_000;
/** Three axes that are published one after another belong together. */
const DEFAULT_JOIN_MS = 100;
const MIN_HOP_MS = 1;
const MAX_CHANNELS = 64;
const MAX_ROWS = 20_000;
/** A window travels as JSON, with some 12 bytes a number, and may have 1 MiB of it. */
const MAX_NUMBERS = 80_000;

const path = z
  .string()
  .min(1)
  .max(512)
  .refine((text) => {
    try {
      return parsePath(text).length > 0;
    } catch {
      return false;
    }
  }, 'a path such as DHT11.Temperature or axes[0]');

const scaling = z.object({
  /** A number becomes number * scale + offset. @example 0.001 */
  scale: z.number().default(1),
  /** Added after `scale`. @example -273.15 */
  offset: z.number().default(0),
});

/** What both kinds have. */
const common = z.object({
  /** Where a message or line says its time (seconds, ms, µs or ns since 1970, or ISO 8601); when it came, when left out. @example Time */
  time: z.union([path, z.int().min(1)]).optional(),
  /** How long a window is, and when the next begins; by a number of rows, or by time. @example { count: 100, hop: 50 } */
  window: z
    .strictObject({
      /** Rows of a window; a row is what the channels say at about one time. @example 100 */
      count: z.int().min(1).max(MAX_ROWS).optional(),
      /** Instead: its time, brought to `rate`. @example 10s */
      time: duration.optional(),
      /** From the beginning of a window to that of the next, in rows or as a time; a whole window when left out. @example 50 */
      hop: z.union([z.int().min(1).max(1_000_000), duration.transform((ms) => ({ ms }))]).optional(),
      /** Rows a second, with `time`. @example 10 */
      rate: z.number().positive().max(100_000).optional(),
    })
    .superRefine(({ count, time, hop, rate }, context) => {
      const say = (message: string): void => context.addIssue({ code: 'custom', message });
      if ((count === undefined) === (time === undefined)) return say('either count or time with rate');
      if ((time === undefined) !== (rate === undefined)) return say('time needs a rate, and count has none');
      const isTime = time !== undefined;
      if (hop !== undefined && (typeof hop === 'object') !== isTime)
        say('hop is of the kind of the window: rows with count, a time with time');
      if (typeof hop === 'object' && hop.ms < MIN_HOP_MS) say(`hop must be at least ${MIN_HOP_MS}ms`);
      if (isTime && Math.round((time * (rate ?? 0)) / 1_000) > MAX_ROWS)
        say(`time * rate must be at most ${MAX_ROWS} rows`);
      if (isTime && Math.round((time * (rate ?? 0)) / 1_000) < 1) say('time * rate must be at least a row');
    })
    .optional(),
  /** Where a channel says nothing: its last number, a straight line between two, or the row (or window) goes. @example linear */
  missing: z.enum(['hold', 'linear', 'drop']).default('hold'),
  /** Numbers of several channels this near are one row. @example 500ms */
  join: duration.default(DEFAULT_JOIN_MS),
  /** How long a row or window waits for numbers that come late, or seldom. @example 2s */
  late: duration.default(0),
  /** The longest that a channel may say nothing within a window; as long as a window when left out. @example 10m */
  maxGap: duration.optional(),
  /** Without a number of a channel for so long the feed is stalled. @example 1h */
  stalledAfter: duration.default(DEFAULT_STALLED_MS),
});

/** Topics of an MQTT broker. */
export const mqttFeed = z.strictObject({
  type: z.literal('mqtt'),
  /** Where the broker is. @example mqtt://127.0.0.1 */
  url: mqttUrl,
  /** At that broker. @example outrider */
  username: z.string().optional(),
  /** At that broker. @example "${MQTT_PASSWORD}" */
  password: z.string().optional(),
  /** PEM file of who vouches for it, beside the configuration unless absolute; the system's when left out. @example broker-ca.pem */
  ca: z.string().min(1).optional(),
  /** What to listen to: the channels of a window in their order, or for other tasks where inputs come from. @example [{ topic: zigbee2mqtt/motor, path: x_axis }] */
  channels: z
    .array(
      z.strictObject({
        /** Wildcards only for tasks that take no windows. @example zigbee2mqtt/motor */
        topic: z
          .string()
          .min(1)
          .max(512)
          .regex(
            /^[^#+]*((^|(?<=\/))\+(?=\/|$)[^#+]*)*((^|(?<=\/))#)?$/,
            'a topic; + and # stand for whole levels',
          ),
        /** Where in its JSON; left out, the payload is the number, or the input. @example DHT11.Temperature */
        path: path.optional(),
        ...scaling.shape,
      }),
    )
    .min(1)
    .max(MAX_CHANNELS),
  ...common.shape,
});

/** Lines of a command or a file. */
export const linesFeed = z.strictObject({
  type: z.literal('lines'),
  /** A program and its arguments, without a shell; started again when it ends. @example [cat, /dev/ttyUSB0] */
  command: z.array(z.string().max(4_096)).min(1).max(256).optional(),
  /** Instead: a file, beside the configuration unless absolute. @example imu.csv */
  path: z.string().min(1).optional(),
  repeat: repeat.optional(),
  /** Goes on with lines as they are appended, also after a restart. @example true */
  follow: z.boolean().default(false),
  /** Between columns; " " stands for any white space. @example ";" */
  delimiter: z.string().length(1).default(','),
  /** The channels of a window in their order; for other tasks the one that is the input, the whole line when left out. @example [{ column: ax }, { column: ay }] */
  channels: z
    .array(
      z
        .strictObject({
          /** Of CSV: its name in the first line, or its number from 1. @example ax */
          column: z.union([z.string().min(1).max(256), z.int().min(1).max(10_000)]).optional(),
          /** Of JSON. @example acceleration.x */
          path: path.optional(),
          ...scaling.shape,
        })
        .refine(
          ({ column, path: at }) => (column === undefined) !== (at === undefined),
          'either column or path',
        ),
    )
    .min(1)
    .max(MAX_CHANNELS)
    .optional(),
  ...common.shape,
});

/** What sensors say over MQTT, checked. */
export type MqttFeedConfig = z.infer<typeof mqttFeed>;
/** What sensors say in lines, checked. */
export type LinesFeedConfig = z.infer<typeof linesFeed>;

/** Problem of a sensor's feed, with the key that it is of. */
interface Problem {
  readonly path: readonly string[];
  readonly message: string;
}

/** Whether a task takes windows of numbers. */
export const takesWindows = (task: TaskName): boolean => task === 'time-series-classification';

/** What does not fit its task, or itself. */
export function sensorProblems(task: TaskName, feed: MqttFeedConfig | LinesFeedConfig): Problem[] {
  const { window, channels = [], time } = feed;
  const problems: Problem[] = [];
  const say = (key: string, message: string): void => void problems.push({ path: [key], message });
  if (takesWindows(task)) {
    if (!window) say('window', `${task} takes windows: say { count, hop } or { time, hop, rate }`);
    if (channels.length === 0) say('channels', `${task} takes windows of channels: say which`);
    const rows = window?.count ?? ((window?.time ?? 0) * (window?.rate ?? 0)) / 1_000;
    if (rows * channels.length > MAX_NUMBERS) say('window', `a window may have ${MAX_NUMBERS} numbers`);
    const isByTime = window?.time !== undefined;
    if (feed.type === 'mqtt' && channels.some((one) => 'topic' in one && /[+#]/.test(one.topic)))
      say('channels', 'a channel of a window has one topic, without wildcards');
    if (feed.type === 'lines' && feed.path !== undefined && isByTime && time === undefined)
      say('time', 'a file is read faster than it was written: windows by time need the time of each line');
  } else {
    if (window) say('window', `${task} takes no windows: leave it out`);
    if (feed.type === 'lines' && channels.length > 1) say('channels', `${task} takes one value of a line`);
  }
  if (feed.type === 'mqtt' && typeof time === 'number') say('time', 'a path into the JSON of a message');
  if (feed.type === 'lines' && (feed.command === undefined) === (feed.path === undefined))
    say('path', 'either command or path');
  return problems;
}
