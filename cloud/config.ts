/** The hub's flags, and the only reader of process.env on this side. */
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { type DeployPolicy, deployPolicy } from '../shared/contract/admin.ts';
import { deviceId } from '../shared/contract/names.ts';
import { commandWords } from '../shared/runtime/command-words.ts';
import { AppError } from '../shared/runtime/errors.ts';
import { checkAll, portNumber, readFlags, wholeNumber } from '../shared/runtime/flags.ts';
import { bareHost, isLoopback, plainTextProblem } from '../shared/runtime/loopback.ts';
import { machineMemoryBytes } from '../shared/runtime/machine-memory.ts';
import { duration, size } from '../shared/runtime/quantities.ts';

/** Text of `--help`. */
export const HUB_HELP = `Usage: outrider hub [options]
       outrider hub backup DIR [--data DIR]    copy what the hub keeps, its keys too, while it runs or not; a later backup into
                                               the same folder copies what is new
       outrider hub restore DIR [--data DIR]   bring a hub back from a backup, where there is none

Runs a hub: answers devices over MQTT and people over HTTP, and keeps the fleet's records.

Options:
  --data DIR           data folder (default ./data)
  --models DIR         folder with model folders; each new digest becomes its name's next version (default ./models)
  --hub-host HOST      where to listen (default 127.0.0.1)
  --hub-port PORT      port of the HTTP API (default 8080)
  --hub-public URL     the hub's address as devices are told it, behind a proxy (default: as each of them has reached it)
  --releases DIR       archives of outrider release, which /install.sh puts on devices (default DATA/hub/releases)
  --mqtt URL           use this broker instead of starting one (mqtts://, wss://; the hub's own name and password there
                       in OUTRIDER_MQTT_USERNAME and OUTRIDER_MQTT_PASSWORD)
  --mqtt-port PORT     port of the broker that it starts (default 1883)
  --mqtt-host HOST     where that broker listens (default 127.0.0.1)
  --mqtt-public URL    the broker's address as devices are told it at enrolment (default: the one the hub uses)
  --intake-only        answer devices beside other hubs on the broker of --mqtt; no records, no HTTP API but /healthz, /readyz
  --mqtt-access HOW    who gives devices their accounts at the broker: embedded (our own broker reads the hub's file; the
                       default there), external (somebody else, by hand; the default with --mqtt) or dynsec (the hub, by
                       Mosquitto's dynamic-security plugin; the plugin's admin in OUTRIDER_MQTT_USERNAME and
                       OUTRIDER_MQTT_PASSWORD)
  --other-hub ID       with dynsec: a hub that answers beside this one, to which devices may send large requests as well; may
                       be given again
  --credential-days N  a device's credential ends after so many days; devices renew theirs in time (default: never)
  --mqtt-ca FILE       authorities of the broker that --mqtt names (PEM; default: the system's)
  --ws-port PORT       MQTT over WebSocket on this port as well, with the broker that it starts
  --tls own|off        certificates of the hub's own authority for HTTP and broker, or none (default: own when it listens
                       off loopback, else off)
  --tls-cert FILE      use this certificate (PEM, with its chain) instead of the own authority's; read again when it changes
  --tls-key FILE       its key
  --tls-name NAME      another name or address for the own authority's certificate; may be given again
  --insecure-plain-text  send and take secrets in plain text off loopback
  --cors ORIGIN        pages of this origin (https://app.example.com) may ask the HTTP API from a browser, with a key of their own; * for
                       any; may be given again (default: none)
  --sign-in            print a one-time address that signs a browser in, at the start
  --deploy auto|manual  whether a version of a new model is deployed to devices as soon as it is published, or when somebody says
                       so (default manual; a model's first version is deployed at once)
  --keep-versions N    keep so many versions of each model, and remove older ones that no device has, runs or is pinned to (default all)
  --restored           the data folder has come back from a copy of another kind (a snapshot of the machine): sign and number above
                       what devices may have seen since
  --max-memory SIZE    memory of all loaded models together, such as 6GB: of those that are idle the one that was asked least
                       recently makes room (default: half of the machine's, or of what this service may take)
  --max-deltas SIZE    disk for differences between versions, which devices fetch instead of whole files (default 2GB; 0B: none are
                       made)
  --max-captures SIZE  disk for inputs that devices share, with both answers, to learn from (default 500MB; 0B: none are kept)
  --captures-age TIME  they are kept for so long at most (default 30d)
  --trainer COMMAND    program that makes a better edge model of captures: outrider captures train orders it, docs/circle.md says
                       how it is called (default: none, nobody can order one). No shell: its words, with quotes where they have blanks
  --trainer-timeout TIME  a training is ended after so long (default 12h)
  --max-loaded N       models kept loaded at a time, besides (default: as many as there is memory for)
  --provider NAME      what runs the models: cpu, cuda (after outrider gpu install), webgpu, or auto, the fastest that gives a model’s
                       golden answers here (default auto)
  --threads N          threads of each model's runner (default: cores / 2)
  --runners N          processes of one model while it is busy and cores are idle (default: as many as their threads fill the cores)
  --log-level LEVEL    debug, info, warn, error (default info)
  -h, --help           show this text
`;

/** Certificate of the hub and of the broker that it starts. */
type TlsConfig =
  | { readonly kind: 'off' }
  /** The own authority's, with these names besides those that it finds itself. */
  | { readonly kind: 'own'; readonly names: readonly string[] }
  | { readonly kind: 'given'; readonly certFile: string; readonly keyFile: string };

/** The flags and the environment, checked. */
export interface HubConfig {
  /** Root of all data; the hub's own is `<dataDir>/hub`. */
  readonly dataDir: string;
  readonly modelsDir: string;
  readonly host: string;
  readonly port: number;
  /** Address of the HTTP API as devices are told it; undefined: as each has reached it. */
  readonly publicUrl: string | undefined;
  /** Releases for devices. */
  readonly releasesDir: string;
  readonly mqtt: {
    /** undefined: the hub starts a broker of its own. */
    readonly url: string | undefined;
    /** `embedded`, also where somebody else has started it: its access file is the hub's. */
    readonly access: 'embedded' | 'external' | 'dynsec';
    /** Hubs that answer beside this one, to which dynsec gives devices the right to send. */
    readonly otherHubs: readonly string[];
    readonly host: string;
    readonly port: number;
    readonly publicUrl: string | undefined;
    /** PEM file of the authorities of a broker that is not the hub's own. */
    readonly caFile: string | undefined;
    /** MQTT over WebSocket, of the broker that the hub starts. */
    readonly webSocketPort: number | undefined;
    /** The hub's own account at an external broker; the plugin's admin with dynsec. */
    readonly username: string | undefined;
    readonly password: string | undefined;
  };
  /** Answers devices, and keeps no records: another hub does. */
  readonly intakeOnly: boolean;
  /** The data folder has come back from a copy that was not made by `outrider hub backup`. */
  readonly isRestored: boolean;
  /** How long a device's credential is good; undefined: for ever. */
  readonly credentialLifeMs: number | undefined;
  readonly tls: TlsConfig;
  /** Origins whose pages may ask the API from a browser. */
  readonly corsOrigins: readonly string[];
  /** Whether who reads what it prints may sign in. */
  readonly printsSignIn: boolean;
  /** The policy of models that are new. */
  readonly deploy: DeployPolicy;
  /** Versions of each model that stay; undefined: all. */
  readonly keepVersions: number | undefined;
  readonly maxLoaded: number;
  /** What runs the models. */
  readonly provider: 'auto' | 'cpu' | 'cuda' | 'webgpu';
  /** Bytes of all runners together. */
  readonly maxMemoryBytes: number;
  /** Disk for differences between versions; 0: none are made. */
  readonly maxDeltaBytes: number;
  /** Inputs with both answers that are kept; 0 bytes: none. */
  readonly captures: { readonly maxBytes: number; readonly maxAgeMs: number };
  /** Words of the command that trains; undefined: there is none. */
  readonly trainer: readonly string[] | undefined;
  readonly trainerTimeoutMs: number;
  readonly threads: number;
  /** Of one busy model. */
  readonly maxRunners: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

const flags = {
  data: { type: 'string', default: 'data' },
  models: { type: 'string', default: 'models' },
  'hub-host': { type: 'string', default: '127.0.0.1' },
  'hub-port': { type: 'string', default: '8080' },
  'hub-public': { type: 'string' },
  releases: { type: 'string' },
  mqtt: { type: 'string' },
  'mqtt-port': { type: 'string', default: '1883' },
  'mqtt-host': { type: 'string', default: '127.0.0.1' },
  'mqtt-public': { type: 'string' },
  'mqtt-ca': { type: 'string' },
  'ws-port': { type: 'string' },
  tls: { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'tls-name': { type: 'string', multiple: true },
  'insecure-plain-text': { type: 'boolean', default: false },
  cors: { type: 'string', multiple: true },
  'sign-in': { type: 'boolean', default: false },
  /** Of `outrider up`, which starts the embedded broker itself. */
  'broker-apart': { type: 'boolean', default: false },
  'intake-only': { type: 'boolean', default: false },
  restored: { type: 'boolean', default: false },
  'mqtt-access': { type: 'string' },
  'other-hub': { type: 'string', multiple: true },
  'credential-days': { type: 'string' },
  deploy: { type: 'string', default: 'manual' },
  'keep-versions': { type: 'string' },
  provider: { type: 'string', default: 'auto' },
  'max-memory': { type: 'string' },
  'max-deltas': { type: 'string', default: '2GB' },
  'max-captures': { type: 'string', default: '500MB' },
  'captures-age': { type: 'string', default: '30d' },
  trainer: { type: 'string' },
  'trainer-timeout': { type: 'string', default: '12h' },
  'max-loaded': { type: 'string' },
  threads: { type: 'string' },
  runners: { type: 'string' },
  'log-level': { type: 'string', default: 'info' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** As browsers write it in `Origin`: anything else would never be equal. */
const isOrigin = (text: string): boolean =>
  text === '*' || (URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text);

const brokerUrl = z.url({
  protocol: /^(mqtts?|wss?)$/,
  error: 'mqtts://host:port, wss://host:port/path, mqtt:// or ws://',
});

const MIN_MEMORY_BYTES = 100e6;
const MIN_CAPTURES_BYTES = 1e6;
/** Timers have no more than 31 bits. */
const MAX_TIMER_MS = 24 * 86_400_000;
/** Each holds the model once more. */
const MAX_RUNNERS = 4;

const DAYS = 'must be a number of days above 0, at most 3650';

const values = z.object({
  'hub-port': portNumber,
  'hub-public': z
    .string()
    .regex(/^https?:\/\/[^/\s?#]+\/?$/, 'https://host:port, without a path')
    .optional(),
  'mqtt-port': portNumber,
  mqtt: brokerUrl.optional(),
  'mqtt-public': brokerUrl.optional(),
  'mqtt-access': z.enum(['embedded', 'external', 'dynsec']).optional(),
  'other-hub': z.array(deviceId).default([]),
  // Parts of a day are for trying it out.
  'credential-days': z.coerce.number({ error: DAYS }).positive(DAYS).max(3_650, DAYS).optional(),
  'ws-port': portNumber.optional(),
  tls: z.enum(['own', 'off']).optional(),
  'tls-name': z.array(z.string().regex(/^[A-Za-z0-9.:-]+$/, 'a host name or an address')).default([]),
  cors: z
    .array(z.string().refine(isOrigin, 'an origin such as https://app.example.com, without a path, or *'))
    .default([]),
  deploy: deployPolicy,
  'keep-versions': wholeNumber(2, 10_000).optional(),
  provider: z.enum(['auto', 'cpu', 'cuda', 'webgpu']),
  'max-memory': size
    .refine((bytes) => bytes >= MIN_MEMORY_BYTES, 'at least 100MB: a runner alone takes as much')
    .optional(),
  'max-deltas': size,
  'max-captures': size.refine(
    (bytes) => bytes === 0 || bytes >= MIN_CAPTURES_BYTES,
    'at least 1MB, or 0B for none',
  ),
  'captures-age': duration.refine((ms) => ms >= 60_000, 'at least 1m'),
  trainer: z.string().transform(commandWords).optional(),
  'trainer-timeout': duration.refine((ms) => ms >= 1_000 && ms <= MAX_TIMER_MS, 'from 1s to 24d'),
  'max-loaded': wholeNumber(1, 64).optional(),
  threads: wholeNumber(1, 256).optional(),
  runners: wholeNumber(1, 16).optional(),
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
  const isOpen = given['insecure-plain-text'];
  for (const flag of ['mqtt', 'mqtt-public'] as const) {
    const problem = checked[flag] === undefined ? undefined : plainTextProblem(checked[flag]);
    if (problem !== undefined && !isOpen) throw new AppError('USAGE', `--${flag}: ${problem}`);
  }
  const ownBrokerHosts = checked.mqtt === undefined ? [given['mqtt-host']] : [];
  const dataDir = resolve(given.data);
  const threads = checked.threads ?? Math.max(1, Math.floor(availableParallelism() / 2));
  return {
    dataDir,
    modelsDir: resolve(given.models),
    host: bareHost(given['hub-host']),
    port: checked['hub-port'],
    publicUrl: checked['hub-public'],
    releasesDir: given.releases === undefined ? join(dataDir, 'hub', 'releases') : resolve(given.releases),
    mqtt: {
      url: checked.mqtt,
      access,
      otherHubs: checked['other-hub'],
      host: bareHost(given['mqtt-host']),
      port: checked['mqtt-port'],
      publicUrl: checked['mqtt-public'],
      caFile: given['mqtt-ca'],
      webSocketPort: checked['ws-port'],
      username,
      password,
    },
    intakeOnly: given['intake-only'],
    isRestored: given.restored,
    credentialLifeMs: days === undefined ? undefined : days * 86_400_000,
    tls: tlsOf({
      kind: checked.tls,
      certFile: given['tls-cert'],
      keyFile: given['tls-key'],
      names: checked['tls-name'],
      hosts: [given['hub-host'], ...ownBrokerHosts],
      publicUrl: checked.mqtt === undefined ? checked['mqtt-public'] : undefined,
      isOpen,
    }),
    corsOrigins: checked.cors,
    printsSignIn: given['sign-in'],
    deploy: checked.deploy,
    keepVersions: checked['keep-versions'],
    maxLoaded: checked['max-loaded'] ?? Number.POSITIVE_INFINITY,
    maxMemoryBytes: checked['max-memory'] ?? machineMemoryBytes() / 2,
    maxDeltaBytes: checked['max-deltas'],
    captures: { maxBytes: checked['max-captures'], maxAgeMs: checked['captures-age'] },
    trainer: checked.trainer,
    trainerTimeoutMs: checked['trainer-timeout'],
    provider: checked.provider,
    threads,
    maxRunners: checked.runners ?? Math.min(MAX_RUNNERS, Math.ceil(availableParallelism() / threads)),
    logLevel: checked['log-level'],
  };
}

interface TlsFlags {
  readonly kind: 'own' | 'off' | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly names: readonly string[];
  /** Where the hub, and the broker that it starts, listen. */
  readonly hosts: readonly string[];
  /** Of the broker that it starts. */
  readonly publicUrl: string | undefined;
  /** Plain text off loopback was asked for. */
  readonly isOpen: boolean;
}

/** @throws USAGE */
function tlsOf({ kind, certFile, keyFile, names, hosts, publicUrl, isOpen }: TlsFlags): TlsConfig {
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new AppError('USAGE', '--tls-cert and --tls-key go together');
  if (certFile !== undefined && keyFile !== undefined) {
    if (kind !== undefined) throw new AppError('USAGE', `--tls ${kind} and --tls-cert exclude each other`);
    return { kind: 'given', certFile: resolve(certFile), keyFile: resolve(keyFile) };
  }
  const abroad = hosts.find((host) => !isLoopback(host));
  if (abroad !== undefined && kind === 'off' && !isOpen)
    throw new AppError(
      'USAGE',
      `--tls off: secrets would travel to ${abroad} in plain text: use --tls own, or ask for it with --insecure-plain-text`,
    );
  const isOwn = kind === 'own' || (kind === undefined && abroad !== undefined && !isOpen);
  if (!isOwn) return { kind: 'off' };
  const publicHost = publicUrl === undefined ? [] : [new URL(publicUrl).hostname.replace(/^\[(.*)\]$/, '$1')];
  return { kind: 'own', names: [...names, ...hosts, ...publicHost] };
}

/** The broker's folder beside the hub's. */
export const brokerFolder = (config: HubConfig): string => join(config.dataDir, 'broker');
