/** The hub's flags, and the only reader of process.env on this side. */
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from '../shared/runtime/errors.ts';
import { checkAll, readFlags } from '../shared/runtime/flags.ts';

export const HUB_HELP = `Usage: outrider hub [options]

Runs a hub: answers devices over MQTT and people over HTTP, and keeps the fleet's records.

Options:
  --data DIR          data folder (default ./data)
  --models DIR        folder with model folders; each new digest becomes its name's next version (default ./models)
  --hub-host HOST     where to listen (default 127.0.0.1)
  --hub-port PORT     port of the HTTP API (default 8080)
  --mqtt URL          use this broker instead of starting one (mqtt:// or mqtts://; the hub's own name and password there
                      in OUTRIDER_MQTT_USERNAME and OUTRIDER_MQTT_PASSWORD)
  --mqtt-port PORT    port of the broker that it starts (default 1883)
  --mqtt-host HOST    where that broker listens (default 127.0.0.1)
  --mqtt-public URL   the broker's address as devices are told it at enrolment (default: the one the hub uses)
  --intake-only       answer devices beside other hubs on the broker of --mqtt; no records, no HTTP API but /healthz, /readyz
  --mqtt-access HOW   who gives devices their accounts at the broker: embedded (our own broker reads the hub's file; the
                      default there), external (somebody else, by hand; the default with --mqtt) or dynsec (the hub, by
                      Mosquitto's dynamic-security plugin; the plugin's admin in OUTRIDER_MQTT_USERNAME and
                      OUTRIDER_MQTT_PASSWORD)
  --credential-days N a device's credential ends after so many days; devices renew theirs in time (default: never)
  --max-loaded N      models kept loaded at a time (default 4)
  --threads N         threads of each model's runner (default: cores / 2)
  --log-level LEVEL   debug, info, warn, error (default info)
  -h, --help          show this text
`;

export interface HubConfig {
  /** Root of all data; the hub's own is `<dataDir>/hub`. */
  readonly dataDir: string;
  readonly modelsDir: string;
  readonly host: string;
  readonly port: number;
  readonly mqtt: {
    /** undefined: the hub starts a broker of its own. */
    readonly url: string | undefined;
    /** `embedded`, also where somebody else has started it: its access file is the hub's. */
    readonly access: 'embedded' | 'external' | 'dynsec';
    readonly host: string;
    readonly port: number;
    readonly publicUrl: string | undefined;
    /** The hub's own account at an external broker; the plugin's admin with dynsec. */
    readonly username: string | undefined;
    readonly password: string | undefined;
  };
  /** Answers devices, and keeps no records: another hub does. */
  readonly intakeOnly: boolean;
  /** How long a device's credential is good; undefined: for ever. */
  readonly credentialLifeMs: number | undefined;
  readonly maxLoaded: number;
  readonly threads: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

const flags = {
  data: { type: 'string', default: 'data' },
  models: { type: 'string', default: 'models' },
  'hub-host': { type: 'string', default: '127.0.0.1' },
  'hub-port': { type: 'string', default: '8080' },
  mqtt: { type: 'string' },
  'mqtt-port': { type: 'string', default: '1883' },
  'mqtt-host': { type: 'string', default: '127.0.0.1' },
  'mqtt-public': { type: 'string' },
  /** Of `outrider up`, which starts the embedded broker itself. */
  'broker-apart': { type: 'boolean', default: false },
  'intake-only': { type: 'boolean', default: false },
  'mqtt-access': { type: 'string' },
  'credential-days': { type: 'string' },
  'max-loaded': { type: 'string', default: '4' },
  threads: { type: 'string' },
  'log-level': { type: 'string', default: 'info' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

const portNumber = z.coerce.number().int().min(0).max(65_535);
const brokerUrl = z.url({ protocol: /^mqtts?$/, error: 'mqtt://host:port or mqtts://host:port' });

const values = z.object({
  'hub-port': portNumber,
  'mqtt-port': portNumber,
  mqtt: brokerUrl.optional(),
  'mqtt-public': brokerUrl.optional(),
  'mqtt-access': z.enum(['embedded', 'external', 'dynsec']).optional(),
  // Parts of a day are for trying it out.
  'credential-days': z.coerce.number().positive().max(3_650).optional(),
  'max-loaded': z.coerce.number().int().min(1).max(64),
  threads: z.coerce.number().int().min(1).max(256).optional(),
  'log-level': z.enum(['debug', 'info', 'warn', 'error']),
});

/**
 * @returns 'help' when that was asked for
 * @throws USAGE
 */
export function loadConfig(
  argv: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): HubConfig | 'help' {
  const given = readFlags(argv, flags, 'outrider hub');
  if (given.help) return 'help';
  const checked = checkAll(values, given, 'USAGE', (flag) => `--${flag}`);
  const isOurs = checked.mqtt === undefined || given['broker-apart'];
  const access = checked['mqtt-access'] ?? (isOurs ? 'embedded' : 'external');
  const { OUTRIDER_MQTT_USERNAME: username, OUTRIDER_MQTT_PASSWORD: password } = env;
  if (access !== 'embedded' && checked.mqtt === undefined)
    throw new AppError('USAGE', `--mqtt-access ${access} needs the broker’s address: give --mqtt`);
  if (access === 'dynsec' && (!username || !password))
    throw new AppError(
      'USAGE',
      '--mqtt-access dynsec needs the plugin’s admin: set OUTRIDER_MQTT_USERNAME and OUTRIDER_MQTT_PASSWORD',
    );
  const days = checked['credential-days'];
  return {
    dataDir: resolve(given.data),
    modelsDir: resolve(given.models),
    host: given['hub-host'],
    port: checked['hub-port'],
    mqtt: {
      url: checked.mqtt,
      access,
      host: given['mqtt-host'],
      port: checked['mqtt-port'],
      publicUrl: checked['mqtt-public'],
      username,
      password,
    },
    intakeOnly: given['intake-only'],
    credentialLifeMs: days === undefined ? undefined : days * 86_400_000,
    maxLoaded: checked['max-loaded'],
    threads: checked.threads ?? Math.max(1, Math.floor(availableParallelism() / 2)),
    logLevel: checked['log-level'],
  };
}

/** The broker's folder beside the hub's. */
export const brokerFolder = (config: HubConfig): string => join(config.dataDir, 'broker');
