/** `outrider.yaml` as a whole. Strict: an unknown key is an error. */
import { z } from 'zod';
import { deviceLabels } from '../../shared/contract/labels.ts';
import { deviceId } from '../../shared/contract/names.ts';
import { isDailyWindow } from '../../shared/runtime/daily-window.ts';
import { isCron } from '../../shared/runtime/schedule.ts';
import { pipeline } from './pipeline.ts';
import { duration, mqttUrl, rate, size } from './quantities.ts';
import { sharedSnapshotFolders } from './sink-problems.ts';

/** Four times what a steady download has to bring. */
const MIN_DOWNLOAD_RATE = 4_000;

/** Every quarter of an hour. */
const DEFAULT_SYNC = '*/15 * * * *';

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name }).format();
    return true;
  } catch {
    return false;
  }
}

/** `outrider.yaml`. docs/configuration.md is made from it, and from the comments before its keys. */
export const configFile = z.strictObject({
  /** This device's id; the host's name when left out. @example gate-01 */
  device: deviceId.optional(),
  /** By which an operator chooses devices, for rollouts for instance. @example { site: north, line: "3" } */
  labels: deviceLabels.default({}),
  /** How the hub is reached; none: the device answers by itself. @example { url: https://hub.example.com:8080 } */
  hub: z
    .strictObject({
      /** Address of its HTTP API: https, or http on loopback. @example https://hub.example.com:8080 */
      url: z.url({ protocol: /^https?$/ }).optional(),
      /** The broker's address, when it isn't the one told at enrolment. @example mqtts://broker.example.com:8883 */
      mqtt: mqttUrl.optional(),
      /**
       * PEM file of who vouches for both, beside the configuration unless absolute; the one pinned at enrolment, else
       * the system's.
       *
       * @example hub-ca.pem
       */
      ca: z.string().min(1).optional(),
      /** Talks to hub and broker in plain text off loopback. @example true */
      insecurePlainText: z.boolean().default(false),
    })
    .prefault({}),
  /**
   * Everything that the agent keeps, beside the configuration unless absolute; `data` of the working folder when left
   * out.
   *
   * @example /var/lib/outrider
   */
  dataDir: z.string().min(1).optional(),
  /** Caps of the whole link. @example { bytesPerDay: 300MB } */
  link: z
    .strictObject({
      /**
       * Up and down together, all of it; reached, requests wait for the next day (UTC). No cap when left out.
       *
       * @example 300MB
       */
      bytesPerDay: size.optional(),
      /**
       * Of updates, together; at least 4KB/s, slower ones would be taken for links that hang. As fast as they come when left out.
       *
       * @example 500KB/s
       */
      maxDownload: rate.refine((bytes) => bytes >= MIN_DOWNLOAD_RATE, 'at least 4KB/s').optional(),
      /**
       * Whether bytes are paid for one by one: then updates wait for another link. `auto`: as NetworkManager says, where there is one.
       *
       * @example true
       */
      metered: z.union([z.boolean(), z.literal('auto')]).default('auto'),
      /**
       * An update of which no more has to come is taken over a metered link as well.
       *
       * @example 1MB
       */
      meteredMax: size.default(0),
    })
    .prefault({}),
  /**
   * When the agent asks over HTTP what the hub wants of it, and when updates may be tried.
   *
   * @example { window: "01:00-05:00" }
   */
  sync: z
    .strictObject({
      /** A cron expression. @example "0 * * * *" */
      schedule: z.string().refine(isCron, 'a cron expression such as "*/15 * * * *"').default(DEFAULT_SYNC),
      /** Of `schedule` and `window`; the machine's when left out. @example Europe/Berlin */
      timeZone: z.string().refine(isTimeZone, 'a time zone such as Europe/Berlin').optional(),
      /** When a new version may be tried; at any time when left out. @example "01:00-05:00" */
      window: z.string().refine(isDailyWindow, 'a time of day such as "01:00-05:00"').optional(),
    })
    .prefault({}),
  /** Bounds of what waits for the cloud. @example { maxBytes: 1GiB } */
  outbox: z
    .strictObject({
      /** Of open requests; 1 GiB when left out. @example 256MiB */
      maxBytes: size.optional(),
      /** Open requests; 100,000 when left out. @example 10000 */
      maxEntries: z.int().positive().optional(),
      /** Of requests that were given up and are kept for people; 128 MiB when left out. @example 128MiB */
      deadLetterBytes: size.optional(),
    })
    .default({}),
  /**
   * Bounds of everything that the agent keeps. Over one of them the oldest snapshots go first, then captures, logs, results, dead letters
   * and what webhooks have not taken; what was accepted for the cloud never does: then new requests are refused.
   *
   * @example { maxBytes: 2GB, keepFree: 500MB }
   */
  disk: z
    .strictObject({
      /** Of all of it together; no quota when left out. @example 2GB */
      maxBytes: size.optional(),
      /** What stays free on each file system that the agent writes to; 200 MB or a twentieth of it, whichever is less, when left out. @example 500MB */
      keepFree: size.optional(),
    })
    .default({}),
  /** The device’s own log of everything that leaves it: `outrider outbox sent`. @example { maxBytes: 16MB, age: 30d } */
  sent: z
    .strictObject({
      /** The oldest lines go; 16 MB when left out, none is kept with `0B`. @example 16MB */
      maxBytes: size.optional(),
      /** Nothing older; 30 days when left out. @example 30d */
      age: duration.optional(),
    })
    .default({}),
  /** The processes that run local models. @example { maxMemory: 500MB } */
  runner: z
    .strictObject({
      /**
       * One that holds more is replaced between two inputs, by another that is up before, at most every ten minutes; twice what it takes
       * once it is warm (256 MiB more at least), when left out. At 1.5 GiB it is ended.
       *
       * @example 500MB
       */
      maxMemory: size.optional(),
    })
    .default({}),
  /** What the device does: one for each camera, folder or application. @example [{ name: gate, task: image-classification, edge: cifar10-cnn }] */
  pipelines: z
    .array(pipeline)
    .min(1, 'at least one pipeline')
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'names must differ')
    .refine(
      (all) => all.every(({ edge, cloud }) => edge ?? cloud),
      'each needs an edge model, a cloud model or both',
    )
    .refine(
      (all) =>
        all.every(({ edge, task }) => all.every((one) => one.edge !== edge || one.task === task || !edge)),
      'those that run the same edge model need the same task: a model has one',
    )
    .refine(
      (all) => sharedSnapshotFolders(all).length === 0,
      'each snapshots sink needs a folder of its own',
    ),
});
