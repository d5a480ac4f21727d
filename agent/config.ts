/**
 * The agent's configuration: `outrider.yaml`, flags over it, and the only reader of process.env on this side.
 * Strict: an unknown key is an error; all problems are told at once, each with its key.
 */
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { hostDeviceId } from '../shared/contract/host-device.ts';
import type { DeviceLabels } from '../shared/contract/labels.ts';
import { deviceId } from '../shared/contract/names.ts';
import { UPDATES_VARIABLE } from '../shared/release/agent/handover.ts';
import { readJson } from '../shared/runtime/atomic-file.ts';
import { readAuthority } from '../shared/runtime/certificate-files.ts';
import { AppError } from '../shared/runtime/errors.ts';
import { checkAll, portNumber, readFlags } from '../shared/runtime/flags.ts';
import { bareHost, plainTextProblem } from '../shared/runtime/loopback.ts';
import { type ApiAccess, apiAccess } from './access.ts';
import { configFile } from './config/config-file.ts';
import type { PipelineConfig } from './config/pipeline.ts';
import { mqttUrl } from './config/quantities.ts';
import { fillPlaceholders } from './placeholders.ts';
import { readYaml } from './read-yaml.ts';

/** Help text of `outrider agent`. */
export const AGENT_HELP = `Usage: outrider agent [options]
       outrider agent install|uninstall|rollback|status|logs [options]   as a service of this machine; each has its own --help

Runs the pipelines of a device: local models, and the cloud where it pays.

Options:
  --config FILE      configuration (default: ./outrider.yaml)
  --data DIR         data folder (default: dataDir of the configuration, else ./data)
  --models DIR       folder with model folders (default: ./models)
  --device ID        this device's id (default: device of the configuration, else the host's name)
  --hub URL          the hub's address; https, or http on loopback
  --mqtt URL         the broker's address, when it isn't the one told at enrolment (a broker with accounts of its own
                     wants this device's id as the name, and its password in OUTRIDER_MQTT_PASSWORD)
  --hub-ca FILE      authority that vouches for hub and broker (PEM; default: the one pinned at enrolment, else the system's)
  --insecure-plain-text  talk to hub and broker, and answer on --agent-host, in plain text off loopback
  --enroll TOKEN     enrol with this one-time token (also OUTRIDER_ENROLL_TOKEN, or DATA/agent/enroll.token)
  --agent-host HOST  where to listen (default 127.0.0.1; elsewhere OUTRIDER_AGENT_KEY is needed, and TLS or --insecure-plain-text)
  --agent-port PORT  port of the device's own API (default 8090)
  --agent-tls-cert FILE  certificate of that API (PEM, with its chain; read again when it changes)
  --agent-tls-key FILE   its key
  --insecure-no-key  answer without a key off loopback: in a container whose port is published on loopback alone
  --once             go through the feeds once, wait for what the cloud owes, and end
  --log-level LEVEL  debug, info, warn, error (default info)
  -h, --help         show this text
`;
/** Agent’s configuration with file, flags and environment put together, paths resolved. */
export interface AgentConfig extends ApiAccess {
  readonly device: string;
  /** By which an operator chooses it. */
  readonly labels: DeviceLabels;
  readonly hubUrl: string | undefined;
  readonly mqttUrl: string | undefined;
  /** `outrider up` tells where they are once they are up. */
  readonly isToldHub: boolean;
  /** PEM of the authorities that vouch for hub and broker, given by hand. */
  readonly hubCa: string | undefined;
  readonly insecurePlainText: boolean;
  readonly enrollToken: string | undefined;
  /** At a broker that has accounts of its own; the device's secret otherwise. */
  readonly mqttPassword: string | undefined;
  /** Root of all data; the agent's own is `<dataDir>/agent`. */
  readonly dataDir: string;
  readonly modelsDir: string;
  /** Of the machine's own part that puts updates of the agent into place; undefined: there is none. */
  readonly updatesDir: string | undefined;
  /** Relative paths of feeds start here. */
  readonly baseDir: string;
  readonly outbox: {
    readonly maxBytes?: number | undefined;
    readonly maxEntries?: number | undefined;
    readonly deadLetterBytes?: number | undefined;
  };
  /** Of everything that is kept; `keepFree` undefined: by the size of the file system. */
  readonly disk: { readonly maxBytes?: number | undefined; readonly keepFree?: number | undefined };
  /** Of the log of what leaves. */
  readonly sent: { readonly maxBytes?: number | undefined; readonly age?: number | undefined };
  /** Of the whole link, a day; undefined: no cap. */
  readonly linkBytesPerDay: number | undefined;
  /** Of updates, a second; undefined: no cap. */
  readonly maxDownloadRate: number | undefined;
  /** Whether bytes are paid for one by one; `auto`: as the system says. */
  readonly metered: boolean | 'auto';
  /** Of an update that comes over a metered link all the same. */
  readonly meteredMaxBytes: number;
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
  /** Over it a runner is replaced; undefined: by what it takes once it is warm. */
  readonly maxMemory: number | undefined;
  readonly pipelines: readonly PipelineConfig[];
}

const flags = {
  config: { type: 'string' },
  data: { type: 'string' },
  models: { type: 'string' },
  device: { type: 'string' },
  hub: { type: 'string' },
  mqtt: { type: 'string' },
  // Of `outrider up`, which starts both at once.
  'hub-from-parent': { type: 'boolean', default: false },
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
  const keyName = (key: string): string => `${path}: ${key}`;
  const filled = await fillPlaceholders(await readYaml(path), env, keyName);
  const config = checkAll(configFile, filled, 'CONFIG_INVALID', keyName);
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
    labels: config.labels,
    hubUrl,
    mqttUrl,
    isToldHub: values['hub-from-parent'],
    hubCa: await caIn(values['hub-ca'], config.hub.ca, baseDir),
    insecurePlainText,
    enrollToken: values.enroll ?? (env.OUTRIDER_ENROLL_TOKEN || undefined),
    mqttPassword: env.OUTRIDER_MQTT_PASSWORD || undefined,
    dataDir,
    modelsDir: resolve(values.models ?? 'models'),
    updatesDir: env[UPDATES_VARIABLE] || undefined,
    baseDir,
    outbox: config.outbox,
    disk: config.disk,
    sent: config.sent,
    linkBytesPerDay: config.link.bytesPerDay,
    maxDownloadRate: config.link.maxDownload,
    metered: config.link.metered,
    meteredMaxBytes: config.link.meteredMax,
    sync: config.sync,
    host,
    port: checked['agent-port'],
    ...access,
    once: values.once ?? false,
    logLevel: checked['log-level'],
    threads: Math.max(1, Math.floor(availableParallelism() / Math.max(1, runners))),
    maxMemory: config.runner.maxMemory,
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
  if (flag !== undefined) return readAuthority(resolve(flag));
  return key === undefined ? undefined : readAuthority(resolve(baseDir, key));
}
