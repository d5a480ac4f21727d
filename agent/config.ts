/**
 * The agent's configuration: `outrider.yaml`, flags over it, and the only reader of process.env on this side.
 * Strict: an unknown key is an error; all problems are told at once, each with its key.
 */
import { availableParallelism, hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { DEFAULT_DEADLINE_MS, DEFAULT_EXPIRES_MS } from '../shared/contract/limits.ts';
import { deviceId, modelName, pipelineName } from '../shared/contract/names.ts';
import { routeScope } from '../shared/contract/routing.ts';
import { readJson } from '../shared/runtime/atomic-file.ts';
import { readPem } from '../shared/runtime/certificate-files.ts';
import { isDailyWindow } from '../shared/runtime/daily-window.ts';
import { AppError } from '../shared/runtime/errors.ts';
import { checkAll, portNumber, readFlags } from '../shared/runtime/flags.ts';
import { bareHost, plainTextProblem } from '../shared/runtime/loopback.ts';
import { isCron } from '../shared/runtime/schedule.ts';
import { lossOptions } from '../shared/tasks/loss-options.ts';
import { TASKS, taskName } from '../shared/tasks/tasks.ts';
import { type ApiAccess, apiAccess } from './access.ts';
import { readYaml } from './read-yaml.ts';

/** Help text of `outrider agent`. */
export const AGENT_HELP = `Usage: outrider agent [options]

Runs the pipelines of a device: local models, and the cloud where it pays.

Options:
  --config FILE     configuration (default: ./outrider.yaml)
  --data DIR        data folder (default: dataDir of the configuration, else ./data)
  --models DIR      folder with model folders (default: ./models)
  --device ID       this device's id (default: device of the configuration, else the host's name)
  --hub URL         the hub's address; https, or http on loopback
  --mqtt URL        the broker's address, when it isn't the one told at enrolment (a broker with accounts of its own
                    wants this device's id as the name, and its password in OUTRIDER_MQTT_PASSWORD)
  --hub-ca FILE     authority that vouches for hub and broker (PEM; default: the one pinned at enrolment, else the system's)
  --insecure-plain-text  talk to hub and broker, and answer on --agent-host, in plain text off loopback
  --enroll TOKEN    enrol with this one-time token (also OUTRIDER_ENROLL_TOKEN, or DATA/agent/enroll.token)
  --agent-host HOST where to listen (default 127.0.0.1; elsewhere OUTRIDER_AGENT_KEY is needed, and TLS or --insecure-plain-text)
  --agent-port PORT port of the device's own API (default 8090)
  --agent-tls-cert FILE  certificate of that API (PEM, with its chain; read again when it changes)
  --agent-tls-key FILE   its key
  --insecure-no-key answer without a key off loopback: in a container whose port is published on loopback alone
  --once            go through the feeds once, wait for what the cloud owes, and end
  --log-level LEVEL debug, info, warn, error (default info)
  -h, --help        show this text
`;

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** `2s`, `24h`, … as milliseconds. */
const duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'a duration such as 500ms, 2s, 5m, 24h')
  .transform((text) => quantity(text, UNIT_MS));
/** `50MB`, `64KiB`, … as bytes. */
const size = z
  .string()
  .regex(/^\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB)$/, 'a size such as 512KiB, 50MB, 1GB')
  .transform((text) => quantity(text, UNIT_BYTES));

function quantity(text: string, units: Record<string, number>): number {
  const [, number = '', unit = ''] = /^([\d.]+)(\w+)$/.exec(text) ?? [];
  return Number(number) * (units[unit] ?? 1);
}

/** Where a broker is. */
const mqttUrl = z.url({ protocol: /^(mqtts?|wss?)$/ });

/** Some ten thousand captures of a classifier. */
const DEFAULT_CAPTURE_BYTES = 10e6;
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

const ratio = z.number().gt(0.5).lt(1);

/** Cameras and FTP servers write in bursts that are closer together. */
const DEFAULT_SETTLE_MS = 500;

const repeat = z.strictObject({
  /** Wait between two inputs from the second pass on. @example 2s */
  pace: duration,
});

const feed = z.discriminatedUnion('type', [
  z.strictObject({
    /** Files of a folder, each when it is whole and again when it changes; lines of a text file. @example folder */
    type: z.literal('folder'),
    /** Folder or file, beside the configuration unless absolute. @example ./pictures */
    path: z.string().min(1),
    /** Goes through all of it again and again; once, when left out. @example { pace: 2s } */
    repeat: repeat.optional(),
    /** Folders below it, too; links to folders are not followed. @example true */
    recursive: z.boolean().default(false),
    /** A file that nobody has written to for so long is whole; one that is renamed into the folder is at once. @example 2s */
    settle: duration.default(DEFAULT_SETTLE_MS),
    /** What becomes of a file that has been answered; one that could not be answered stays. @example move */
    after: z.enum(['keep', 'move', 'delete']).default('keep'),
    /** Where to, with `after: move`. @example ./done */
    moveTo: z.string().min(1).optional(),
  }),
  z.strictObject({
    type: z.literal('text-lines'),
    path: z.string().min(1),
    repeat: repeat.optional(),
    /**
     * Goes on with lines as they are appended, also after a restart, and in a file that is truncated or replaced; not with `repeat`.
     *
     * @example true
     */
    follow: z.boolean().default(false),
  }),
]);

const sink = z.discriminatedUnion('type', [
  z.strictObject({
    /** Lines of NDJSON in a file, or messages on an MQTT topic. @example file */
    type: z.literal('file'),
    /** Inside the agent's data folder unless absolute. @example results/gate.ndjson */
    path: z.string().min(1),
    /** Of the file; at it the file before is replaced and a new one begun. 32 MiB when left out. @example 32MiB */
    maxBytes: size.optional(),
  }),
  z.strictObject({
    type: z.literal('mqtt'),
    /** Where the broker is. @example mqtt://10.0.0.2:1883 */
    url: mqttUrl,
    /** Without wildcards. @example home/gate */
    topic: z
      .string()
      .min(1)
      .max(512)
      .regex(/^[^#+]*$/, 'a topic without wildcards'),
    /** At that broker. @example outrider */
    username: z.string().optional(),
    /** At that broker. @example "…" */
    password: z.string().optional(),
  }),
]);

/** What asking the cloud costs; for what is shown as saved. */
const price = z.strictObject({
  /** Of one question to the cloud. @example 0.002 */
  request: z.number().nonnegative().default(0),
  /** Of inputs sent. @example 0.01 */
  megabyte: z.number().nonnegative().default(0),
  /** As it is shown. @example EUR */
  currency: z.string().min(1).max(8),
});

const route = z
  .strictObject({
    /** Share of the requests that get the answer that the cloud would have given. @example 0.98 */
    agreement: ratio.default(0.98),
    /** With which probability that holds, at all times at once. @example 0.95 */
    confidence: ratio.default(0.95),
    /** What the agreement is promised of: all requests that can be asked about, or those answered locally. @example local */
    scope: routeScope.default('all'),
    /** A promise for each label, so that a rare one is not sacrificed. @example true */
    perLabel: z.boolean().default(false),
    /** From the pair's certificate, where it is about this cloud model; or by asking about everything. @example learn */
    start: z.enum(['certificate', 'learn']).default('certificate'),
    /** Where to answer, whatever the score. @example cloud */
    always: z.enum(['edge', 'cloud']).optional(),
    /** When the asker gets an answer, the local one if need be. @example 500ms */
    deadline: duration.default(DEFAULT_DEADLINE_MS),
    /** When a request may be given up; the agent's running time counts. @example 24h */
    expires: duration.default(DEFAULT_EXPIRES_MS),
    /**
     * Without a link: answer locally and owe nothing; wait for the cloud; or both, the cloud's answer as a correction.
     *
     * @example queue
     */
    whenOffline: z.enum(['answer', 'queue', 'both']).default('both'),
    /** What may be spent on asking. @example { requestsPerHour: 600, bytesPerDay: 50MB } */
    budget: z
      .strictObject({
        /** Questions in any hour. @example 600 */
        requestsPerHour: z.number().positive().optional(),
        /** Bytes of inputs in any day. @example 50MB */
        bytesPerDay: size.optional(),
      })
      .default({}),
    /**
     * Frames of one scene are one witness: of inputs that follow one another within this time, one teaches the router.
     *
     * @example 30s
     */
    decorrelation: duration.default(0),
    /** What asking the cloud costs, for what is shown as saved. @example { request: 0.002, currency: EUR } */
    price: price.optional(),
    /** What counts as the same answer; the same best label when left out. @example { topK: 3 } */
    loss: lossOptions.optional(),
    /**
     * Keeps what was learned from, for `outrider route simulate`: scores, answers and losses, no inputs.
     *
     * @example { maxBytes: 10MB }
     */
    captures: z
      .strictObject({
        /** Of both files that are kept in turn. @example 10MB */
        maxBytes: size.default(DEFAULT_CAPTURE_BYTES),
      })
      .optional(),
  })
  .prefault({});

const pipelineFields = z.strictObject({
  /** By which callers, results and metrics name it. @example gate */
  name: pipelineName,
  /** What is asked, by Hugging Face's name. @example image-classification */
  task: taskName,
  /** Where inputs come from, besides HTTP, which is always open. @example { type: folder, path: ./pictures } */
  feed: feed.optional(),
  /** The local model: a folder of `--models`, or the hub's; none: everything is asked. @example cifar10-cnn */
  edge: modelName.optional(),
  /** The hub's model; none: nothing is ever asked. @example cifar10-vit */
  cloud: modelName.optional(),
  /** The promise, and what may be spent on it. @example { agreement: 0.98 } */
  route,
  /** Where Results go, besides HTTP. @example [{ type: file, path: results/gate.ndjson }] */
  sinks: z.array(sink).default([]),
  /**
   * What the hub may see besides what it is asked: nothing, results, or also keep and show escalated inputs.
   *
   * @example results
   */
  share: z.enum(['none', 'results', 'inputs']).default('none'),
  /** Pictures go to the cloud as they came, instead of as large as its model can use. @example true */
  original: z.boolean().default(false),
  /** How a picture is encoded that is brought to that size. @example { format: webp, quality: 80 } */
  picture: z
    .strictObject({
      /** The file format. @example webp */
      format: z.enum(['webp', 'jpeg']).default('webp'),
      /** 1 to 100, or without any loss (webp). @example 80 */
      quality: z.union([z.int().min(1).max(100), z.literal('lossless')]).default('lossless'),
    })
    .refine(({ format, quality }) => format === 'webp' || quality !== 'lossless', 'jpeg has no lossless')
    .prefault({}),
  /** Of the task, for inputs that bring none of their own. @example { top_k: 3 } */
  parameters: z.record(z.string(), z.unknown()).optional(),
});
/** Settings of one pipeline, checked against what its task can do. */
const pipeline = pipelineFields.superRefine(({ task, edge, parameters }, context) => {
  const { runsOn, parameters: schema, needsParameters } = TASKS[task];
  if (edge !== undefined && runsOn === 'hub')
    context.addIssue({
      code: 'custom',
      path: ['edge'],
      message: `${task} runs in the hub alone: leave edge out`,
    });
  if (parameters === undefined && !needsParameters) return;
  for (const issue of schema.safeParse(parameters ?? {}).error?.issues ?? [])
    context.addIssue({ code: 'custom', path: ['parameters', ...issue.path], message: issue.message });
});
export type PipelineConfig = z.infer<typeof pipeline>;

/** `outrider.yaml`. docs/configuration.md is made from it, and from the comments before its keys. */
export const configFile = z.strictObject({
  /** This device's id; the host's name when left out. @example gate-01 */
  device: deviceId.optional(),
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
    })
    .default({}),
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
  /** What the device does: one for each camera, folder or application. @example [{ name: gate, task: image-classification, edge: cifar10-cnn }] */
  pipelines: z
    .array(pipeline)
    .min(1, 'at least one pipeline')
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'names must differ')
    .refine(
      (all) => all.every(({ edge, cloud }) => edge ?? cloud),
      'each needs an edge model, a cloud model or both',
    ),
});

/** Agent’s configuration with file, flags and environment put together, paths resolved. */
export interface AgentConfig extends ApiAccess {
  readonly device: string;
  readonly hubUrl: string | undefined;
  readonly mqttUrl: string | undefined;
  /** PEM of the authorities that vouch for hub and broker, given by hand. */
  readonly hubCa: string | undefined;
  readonly insecurePlainText: boolean;
  readonly enrollToken: string | undefined;
  /** At a broker that has accounts of its own; the device's secret otherwise. */
  readonly mqttPassword: string | undefined;
  /** Root of all data; the agent's own is `<dataDir>/agent`. */
  readonly dataDir: string;
  readonly modelsDir: string;
  /** Relative paths of feeds start here. */
  readonly baseDir: string;
  readonly outbox: {
    readonly maxBytes?: number | undefined;
    readonly maxEntries?: number | undefined;
    readonly deadLetterBytes?: number | undefined;
  };
  /** Of the whole link, a day; undefined: no cap. */
  readonly linkBytesPerDay: number | undefined;
  readonly sync: {
    readonly schedule: string;
    readonly timeZone?: string | undefined;
    readonly window?: string | undefined;
  };
  readonly host: string;
  readonly port: number;
  readonly once: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** Threads of each runner: all runners together take no more than the cores. */
  readonly threads: number;
  readonly pipelines: readonly PipelineConfig[];
}

const flags = {
  config: { type: 'string' },
  data: { type: 'string' },
  models: { type: 'string' },
  device: { type: 'string' },
  hub: { type: 'string' },
  mqtt: { type: 'string' },
  'hub-ca': { type: 'string' },
  'insecure-plain-text': { type: 'boolean' },
  enroll: { type: 'string' },
  'agent-host': { type: 'string' },
  'agent-port': { type: 'string' },
  'agent-tls-cert': { type: 'string' },
  'agent-tls-key': { type: 'string' },
  'insecure-no-key': { type: 'boolean' },
  once: { type: 'boolean' },
  'log-level': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

const flagValues = z.object({
  'agent-port': portNumber.default(8090),
  'log-level': z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  device: deviceId.optional(),
  hub: z.url({ protocol: /^https?$/ }).optional(),
  mqtt: mqttUrl.optional(),
});

/**
 * @returns 'help' when that was asked for
 * @throws USAGE, CONFIG_INVALID
 */
export async function loadConfig(
  argv: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<AgentConfig | 'help'> {
  const values = readFlags(argv, flags, 'outrider agent');
  if (values.help) return 'help';
  const checked = checkAll(flagValues, values, 'USAGE', (path) => `--${path}`);
  const path = resolve(values.config ?? 'outrider.yaml');
  const config = checkAll(configFile, await readYaml(path), 'CONFIG_INVALID', (key) => `${path}: ${key}`);
  const baseDir = dirname(path);
  const host = bareHost(values['agent-host'] ?? '127.0.0.1');
  const hubUrl = checked.hub ?? config.hub.url;
  const mqttUrl = checked.mqtt ?? config.hub.mqtt;
  const insecurePlainText = values['insecure-plain-text'] ?? config.hub.insecurePlainText;
  for (const url of [hubUrl, mqttUrl]) {
    const problem = url === undefined || insecurePlainText ? undefined : plainTextProblem(url);
    if (problem !== undefined) throw new AppError('CONFIG_INVALID', problem);
  }
  const access = apiAccess({
    ...{ host, key: env.OUTRIDER_AGENT_KEY, needsNoKey: values['insecure-no-key'] ?? false },
    isPlainTextMeant: values['insecure-plain-text'] ?? false,
    ...{ certFile: values['agent-tls-cert'], keyFile: values['agent-tls-key'] },
  });
  const runners = new Set(config.pipelines.map(({ edge }) => edge).filter((edge) => edge !== undefined)).size;
  const dataDir =
    values.data === undefined ? resolve(baseDir, config.dataDir ?? resolve('data')) : resolve(values.data);
  return {
    device: checked.device ?? config.device ?? (await enrolledDevice(dataDir)) ?? hostDeviceId(),
    hubUrl,
    mqttUrl,
    hubCa: await caIn(values['hub-ca'], config.hub.ca, baseDir),
    insecurePlainText,
    enrollToken: values.enroll ?? (env.OUTRIDER_ENROLL_TOKEN || undefined),
    mqttPassword: env.OUTRIDER_MQTT_PASSWORD || undefined,
    dataDir,
    modelsDir: resolve(values.models ?? 'models'),
    baseDir,
    outbox: config.outbox,
    linkBytesPerDay: config.link.bytesPerDay,
    sync: config.sync,
    host,
    port: checked['agent-port'],
    ...access,
    once: values.once ?? false,
    logLevel: checked['log-level'],
    threads: Math.max(1, Math.floor(availableParallelism() / Math.max(1, runners))),
    pipelines: config.pipelines,
  };
}

/** Who is enrolled stays who it is, whatever its host is called by now. */
async function enrolledDevice(dataDir: string): Promise<string | undefined> {
  const enrolled = z.object({ deviceId });
  const path = join(dataDir, 'agent', 'credential.json');
  return (await readJson(path, enrolled).catch(() => undefined))?.deviceId;
}

/** @throws FILE_UNREADABLE */
async function caIn(flag: string | undefined, key: string | undefined, baseDir: string) {
  if (flag !== undefined) return readPem(resolve(flag));
  return key === undefined ? undefined : readPem(resolve(baseDir, key));
}

/** The host's name, brought to what a topic level may hold. */
const hostDeviceId = (): string =>
  hostname()
    .replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 64) || 'device';
