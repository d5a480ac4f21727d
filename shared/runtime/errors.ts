/**
 * The table of every failure that Outrider names, and the one error class.
 * Callers switch on `code`, never on text. `docs/errors.md` is generated from this table.
 */

/** Whose fault it is: decides the log level and whether asking again can help. */
type ErrorKind = 'caller' | 'world' | 'bug';

interface ErrorEntry {
  readonly kind: ErrorKind;
  /** `backoff`: the same request may succeed later. */
  readonly retry: 'never' | 'backoff';
  readonly httpStatus: number;
  readonly meaning: string;
  /** What the reader can do about it. */
  readonly remedy: string;
}

const caller = (httpStatus: number, meaning: string, remedy: string): ErrorEntry => ({
  kind: 'caller',
  retry: 'never',
  httpStatus,
  meaning,
  remedy,
});
const busy = (httpStatus: number, meaning: string, remedy: string): ErrorEntry => ({
  kind: 'world',
  retry: 'backoff',
  httpStatus,
  meaning,
  remedy,
});
const world = (httpStatus: number, meaning: string, remedy: string): ErrorEntry => ({
  kind: 'world',
  retry: 'never',
  httpStatus,
  meaning,
  remedy,
});

/** Error table: for each code its HTTP status, whether a retry can help, and what to do. */
export const ERRORS = {
  // The request
  BAD_REQUEST: caller(
    400,
    'The request is not of the expected form.',
    'See the message for the field and what was expected.',
  ),
  PARAMETERS_INVALID: caller(
    400,
    'A parameter is unknown or out of range.',
    'See docs/protocol.md for the task’s parameters.',
  ),
  INPUT_EMPTY: caller(400, 'The input has no bytes.', 'Send a picture or a text.'),
  INPUT_TOO_LARGE: caller(
    413,
    'The input is over the size limit.',
    'Send a smaller input, or raise the limit in the configuration.',
  ),
  ANSWER_TOO_LARGE: caller(
    413,
    'The answer is over the size limit.',
    'Ask for less: a smaller picture, a pooled vector, fewer outputs. Over HTTP the limit is higher.',
  ),
  ENCODING_UNSUPPORTED: caller(
    415,
    'The body has a content coding that is not decoded.',
    'Send it as it is, or with Content-Encoding: gzip or deflate.',
  ),
  BODY_TIMEOUT: caller(408, 'The body did not arrive in time.', 'Send it faster, or a smaller one.'),
  TEXT_INVALID: caller(422, 'The text is not valid UTF-8.', 'Send UTF-8 text.'),
  INPUT_INVALID: caller(
    422,
    'The input is not what the task takes.',
    'See the message, and docs/protocol.md for the task’s input.',
  ),
  INPUT_POISONOUS: caller(
    422,
    'The input ended the model’s runner each time that it was tried.',
    'It was set aside on the hub; look at it there, and report it.',
  ),
  IMAGE_CORRUPT: caller(
    422,
    'The picture cannot be decoded.',
    'Send a whole JPEG, PNG, WebP, GIF, TIFF or AVIF file.',
  ),
  IMAGE_TOO_LARGE: caller(
    413,
    'The picture has too many pixels.',
    'Send at most 64 megapixels as JPEG, 16 in other formats.',
  ),
  IMAGE_UNSUPPORTED: caller(415, 'The picture format is not supported.', 'Convert it to JPEG, PNG or WebP.'),
  AUDIO_INVALID: caller(
    422,
    'The sound cannot be decoded.',
    'Send WAV; the message names what else is understood.',
  ),
  INPUT_KIND_WRONG: caller(
    415,
    'The input is of the wrong kind for this task.',
    'Send pictures to picture tasks and text to text tasks.',
  ),
  PIPELINE_UNKNOWN: caller(404, 'There is no pipeline of this name.', 'List them with GET /v1/pipelines.'),
  MODEL_UNKNOWN: caller(404, 'There is no model of this name.', 'List them with `outrider models ls`.'),
  RESULT_UNKNOWN: caller(
    404,
    'No result with this id is kept.',
    'The last 1,000 results and all open ones are kept.',
  ),
  NOT_FOUND: caller(404, 'There is nothing at this address.', 'See the addresses in docs/protocol.md.'),
  CONFLICT: caller(409, 'The thing exists already.', 'Choose another name, or remove the old one first.'),

  PRECONDITION_FAILED: caller(
    412,
    'Somebody has changed it since it was read.',
    'Read it again and repeat the change with the new ETag.',
  ),
  PRECONDITION_REQUIRED: caller(
    428,
    'This change needs to say what it is a change of.',
    'Send If-Match with the ETag of what was read.',
  ),
  IDEMPOTENCY_MISMATCH: caller(
    422,
    'The same Idempotency-Key came with another request.',
    'Use a new key for a new request.',
  ),
  RANGE_INVALID: caller(
    416,
    'The asked range lies outside of the file.',
    'Ask for bytes below the length in Content-Range.',
  ),
  NOT_OFFERED: caller(
    501,
    'The protocol has this, and this server does not offer it.',
    'See the message, and docs/build-on.md for what there is.',
  ),
  METHOD_NOT_ALLOWED: caller(
    405,
    'This address does not take that method.',
    'The header Allow names those that it takes.',
  ),

  // Who asks
  UNAUTHORIZED: caller(
    401,
    'A valid key is needed.',
    'Pass --key or OUTRIDER_KEY, or an Authorization: Bearer header.',
  ),
  FORBIDDEN: caller(403, 'This key does not allow that.', 'Use a key with the needed scope.'),
  HOST_REFUSED: caller(
    403,
    'The Host or Origin header names a foreign site.',
    'Use the address that the agent listens on.',
  ),
  ENROLLMENT_REFUSED: caller(
    403,
    'The enrolment token is unknown, used or expired.',
    'Make a new one with `outrider devices enroll`.',
  ),
  HUB_UNTRUSTED: world(
    502,
    'The certificate of the hub, or of a broker, is not vouched for by an authority that is trusted here.',
    'Give the hub’s authority with --ca, or enrol again with a new token; of a feed or sink give its broker’s as ca.',
  ),
  LINK_REFUSED: world(
    403,
    'The broker refuses this device’s credential.',
    'Enrol the device again; of a feed or sink check username, password and what they may read or write.',
  ),
  FEED_SILENT: busy(
    503,
    'The source of a feed is there and gives nothing that can be used.',
    'See the message for what is missing; check the sensor, its topic and the path in it, or raise stalledAfter.',
  ),
  FEED_COMMAND_FAILED: busy(
    503,
    'The command of a feed cannot be started, or has ended.',
    'Run it by hand as the agent’s user; the log has what it said. It is started again by itself.',
  ),
  DEVICE_UNKNOWN: caller(404, 'There is no device of this name.', 'List them with `outrider devices ls`.'),

  // Load and time
  QUEUE_FULL: busy(429, 'The queue is full.', 'Ask again after the time in Retry-After.'),
  OUTBOX_FULL: busy(
    429,
    'The outbox is at its cap; nothing accepted is evicted for a new request.',
    'Wait for the link, or raise outbox.maxBytes.',
  ),
  DISK_FULL: busy(507, 'The disk is full.', 'Free some space; what was accepted is safe.'),
  RATE_LIMITED: busy(429, 'Too many requests in a short time.', 'Ask again after the time in Retry-After.'),
  OVER_BUDGET: busy(
    429,
    'The byte budget of the day is used up, and there is no local answer.',
    'Raise `bytesPerDay`, or wait for the next day.',
  ),
  EXPIRED: world(
    504,
    'The request passed its expiry without an answer.',
    'Raise `expires`, or look at the link.',
  ),
  DROPPED: world(
    410,
    'An operator dropped the request from the outbox.',
    'Ask again; nothing of it is left.',
  ),
  STOPPING: busy(503, 'The program is stopping.', 'Ask again after it has started.'),

  // Models and runners
  MODEL_INVALID: caller(
    422,
    'The model folder is not usable.',
    'See the message for the file and the reason.',
  ),
  MODEL_DIGEST_MISMATCH: caller(
    422,
    'A model file differs from its recorded SHA-256.',
    'Fetch or build the model again.',
  ),
  MODEL_NOT_LOADED: busy(503, 'The model is not loaded yet.', 'Ask again shortly.'),
  RUNNER_START_FAILED: busy(503, 'The runner of a model could not start.', 'See the log for the reason.'),
  GPU_MISSING: world(
    503,
    'There is no GPU here that models could run on.',
    'Install its driver first; `outrider gpu` says what is there.',
  ),
  LIBRARY_INVALID: world(
    422,
    'A library is not the one that this version of Outrider needs.',
    'Fetch it again, of the version that the message names.',
  ),
  RUNNER_CRASHED: busy(
    503,
    'The runner of a model ended while it worked.',
    'It is started again; see the log for the reason.',
  ),
  RUNNER_TIMEOUT: busy(
    504,
    'The runner did not answer in time and was ended.',
    'It is started again; send smaller inputs or raise the limit.',
  ),

  OUTPUT_NOT_FINITE: world(
    500,
    'The model gave NaN or infinity, of which no answer can be made.',
    'Export the model again (float16 often overflows); where it happens to few inputs, look at those.',
  ),
  OUTPUT_NOT_TEXT: world(
    500,
    'The model gave a BYTES element that cannot be carried whole: no UTF-8, or one with a NUL.',
    'Leave that output out (parameters: outputs), or have the graph give numbers in its place.',
  ),
  MODEL_SELF_TEST_FAILED: caller(
    422,
    'The model does not answer its own golden inputs as recorded.',
    'See the message for the input; build or export the model again.',
  ),
  MODEL_TOO_SLOW: world(
    422,
    'The new version takes over twice as long as the one before it.',
    'Publish a smaller or better quantized version; the one before it answers on.',
  ),

  TRAINER_MISSING: world(
    409,
    'This hub has no program that trains.',
    'Start the hub with --trainer COMMAND (docs/circle.md), or export the captures and train by hand.',
  ),
  TRAINING_FAILED: world(
    422,
    'The training has brought no new version.',
    'Look at `outrider captures train --show ID`: it has the last words of the program.',
  ),
  ROLLOUT_FAILED: world(
    422,
    'The rollout has not reached its end.',
    'Look at outrider rollout show: it says which gate has stopped it, and by what figures. Publish a better version, or change the gate.',
  ),

  // Engines on other servers
  ENGINE_UNREACHABLE: busy(
    503,
    'The server that a model runs on does not answer, or says that it cannot now.',
    'Check that it runs, its address (`outrider models ls`) and the network between; it is asked again by itself.',
  ),
  ENGINE_TIMEOUT: busy(
    504,
    'The server that a model runs on did not answer in time.',
    'Look at its load, or raise --timeout of `outrider models add`.',
  ),
  ENGINE_UNTRUSTED: world(
    502,
    'The certificate of the server that a model runs on is not vouched for by an authority that is trusted here.',
    'Give its authority by --engine-ca of `outrider models add`.',
  ),
  ENGINE_REFUSED: world(
    502,
    'The server that a model runs on refuses the key, or does not know the model.',
    'Check --key-file or --key-env, --remote-name and --remote-version of `outrider models add`.',
  ),
  ENGINE_FAILED: busy(
    502,
    'The server that a model runs on answered with something that is no answer.',
    'See the message for what is wrong with it; look at that server’s log.',
  ),
  ENGINE_MISFIT: world(
    422,
    'The model on the other server takes or gives other tensors than the folder’s graph.',
    'See the message for which; name the model that was exported from the same weights, or push its folder.',
  ),

  // Updates
  UPDATE_UNTRUSTED: world(
    422,
    'Signed update metadata is not valid: a wrong signature, or not of the expected form.',
    'Look at who publishes; nothing of it was taken.',
  ),
  UPDATE_EXPIRED: world(
    503,
    'Signed update metadata has passed its expiry.',
    'Check the clock of this device, and that the hub signs its timestamp again.',
  ),
  UPDATE_OLDER: world(
    409,
    'Older signed update metadata was offered than has been seen before.',
    'Look at who answers in the hub’s place, or whether the hub was restored from an old copy.',
  ),
  UPDATE_NOT_LISTED: world(
    404,
    'The signed metadata does not list this version.',
    'Publish it, or ask for another version.',
  ),
  SIGNING_FAILED: world(
    502,
    'The command that signs, or its token, gave no signature that its key verifies.',
    'Run it by hand with the bytes on its standard input; docs/updates.md has lines that work.',
  ),
  MODEL_IN_USE: caller(
    409,
    'The version cannot be removed: something still needs it.',
    'The message names who: deploy another version, unpin the device, or wait until it has reported.',
  ),
  UPDATE_INTERRUPTED: world(
    500,
    'The agent ended while it tried the new version.',
    'Look at why it ended; ask for another version, then for this one again.',
  ),
  UPDATE_NOT_WANTED: world(
    409,
    'An older version of the agent was offered than this machine has run, and nobody has signed that it may go back to it.',
    'The hub signs that for what it deploys, pins or rolls out; where the key is elsewhere: outrider releases allow-back VERSION.',
  ),
  UPDATE_ONE_WAY: world(
    409,
    'The version writes data that the one before cannot read: there would be no way back.',
    'Install it by hand (sudo outrider agent install ARCHIVE), or push it with outrider releases push --one-way.',
  ),
  UPDATE_LINK_LOST: world(
    503,
    'The new version was ready and did not reach the hub, which the version before does.',
    'Look at what it said: outrider agent logs on the device; then ask for another version.',
  ),
  LINK_METERED: world(
    503,
    'A download waits for a link that is not paid by the byte.',
    'It goes on by itself there; `link.metered` and `link.meteredMax` of the configuration say what is metered, and what may come all the same.',
  ),
  DELTA_INVALID: world(
    502,
    'A difference between two files does not make the file that it is for.',
    'Nothing to do: the whole file is fetched in its place.',
  ),
  DOWNLOAD_INCOMPLETE: busy(502, 'A download broke off or was too slow.', 'It goes on where it ended.'),
  AGENT_TOO_OLD: world(422, 'The version needs a newer agent.', 'Update the agent on this device.'),

  // Wire
  MESSAGE_MALFORMED: caller(
    400,
    'A wire message cannot be decoded.',
    'See docs/protocol.md for the envelope.',
  ),
  MESSAGE_VERSION: caller(
    400,
    'A wire message has a version that this program does not read.',
    'Update the older side.',
  ),

  // Programs
  USAGE: caller(400, 'The command line is not understood.', 'See --help.'),
  CONFIG_INVALID: caller(
    400,
    'The configuration is not valid.',
    'The message names each key and what was expected.',
  ),
  PORT_TAKEN: world(503, 'A port is taken by another program.', 'Choose another port with the named flag.'),
  DATA_LOCKED: world(
    503,
    'Another program uses this data folder.',
    'End it, or choose another folder with --data.',
  ),
  DATA_CORRUPT: world(
    500,
    'A state file cannot be read.',
    'See the message for the file; it is kept beside the new one.',
  ),
  DATA_NEWER: world(
    503,
    'The data folder was written by a newer version in a form that this one cannot read.',
    'Run that version or a newer one; nothing of the folder was touched.',
  ),
  RELEASE_INVALID: caller(
    422,
    'This is no release that can be installed here.',
    'Take the archive as outrider release makes it, for this machine’s platform, and unpack it again.',
  ),
  INSTALL_IMPOSSIBLE: world(
    503,
    'This machine lacks what an installation needs.',
    'See the message; as root, on Linux with systemd, or with --no-systemd or --root DIR.',
  ),
  SERVICE_FAILED: world(
    503,
    'The service of the agent does not come up.',
    'See the lines of its log in the message, then outrider agent status and outrider agent logs.',
  ),
  HUB_UNREACHABLE: busy(
    503,
    'The hub does not answer.',
    'Check --hub / OUTRIDER_HUB and whether the hub runs.',
  ),
  AGENT_UNREACHABLE: busy(
    503,
    'The agent does not answer.',
    'Check --agent / OUTRIDER_AGENT and whether the agent runs.',
  ),
  AGENT_UNTRUSTED: world(
    502,
    'The agent’s certificate is not vouched for by an authority that is trusted here.',
    'Give its authority with --agent-ca.',
  ),
  HUB_FAILED: busy(502, 'The hub answered with something unexpected.', 'Look at the hub’s log.'),
  BROKER_UNREACHABLE: busy(
    503,
    'The MQTT broker does not answer.',
    'Check --mqtt, or the url of the feed or sink, and whether the broker runs.',
  ),
  SINK_STALLED: busy(
    504,
    'A sink did not take a Result in time.',
    'Look at what it writes to, or who it sends to; other sinks and the pipeline go on.',
  ),
  WEBHOOK_REFUSED: busy(
    502,
    'A webhook did not take a Result.',
    'See the message for what it answered; what it has not taken is kept and sent again.',
  ),
  WEBHOOK_GONE: world(
    410,
    'A webhook says that it is gone for good.',
    'Take it out of the configuration, or start the agent again once it is back.',
  ),
  ADDRESS_REFUSED: world(
    403,
    'The address is private, loopback or link-local, and nothing is sent there.',
    'Say allowPrivate: true where it is meant.',
  ),
  FILE_UNREADABLE: caller(400, 'A file cannot be read.', 'Check the path and the permissions.'),
  ACCESS_DENIED: world(
    500,
    'The system does not let this program read or write there.',
    'Check the owner and the rights of the named path, and whether its disk is mounted read-only.',
  ),
  PATH_INVALID: world(
    500,
    'A path leads nowhere: a part of it is missing, no folder, or too long.',
    'Check the named path.',
  ),
  TOO_MANY_FILES: busy(
    503,
    'This program, or the machine, has no more files and connections to give.',
    'Raise the limit (ulimit -n, LimitNOFILE of a service), or use fewer connections.',
  ),
  DISK_FAILED: world(
    500,
    'The disk reports a fault.',
    'Look at the system’s log (dmesg), and replace the disk or card.',
  ),
  NAME_UNRESOLVED: busy(
    503,
    'The name of a host cannot be resolved.',
    'Check the spelling of the name, and the network’s DNS.',
  ),
  CONNECTION_LOST: busy(
    503,
    'A connection could not be made, or broke off.',
    'Check that the other side runs, and the network between.',
  ),
  NOT_A_FILE: caller(
    400,
    'A file is expected, and this is a folder, a pipe, a socket or a device.',
    'Name a regular file.',
  ),

  // Cameras
  FFMPEG_MISSING: world(
    503,
    'The program that reads cameras, ffmpeg, is not installed.',
    'Install it (apt-get install ffmpeg; apk add ffmpeg; brew install ffmpeg), or put it on the PATH of the agent.',
  ),
  CAMERA_UNREACHABLE: busy(
    503,
    'The camera cannot be reached.',
    'Check its address, its power and the network between; it is tried again.',
  ),
  CAMERA_REFUSED: busy(
    502,
    'The camera refuses the name or the password.',
    'Check both, by outrider cameras probe; many cameras lock a user out for a while after wrong passwords.',
  ),
  CAMERA_UNTRUSTED: busy(
    502,
    'Nobody that is trusted here vouches for the certificate of an https camera.',
    'Give that certificate, or who vouches for it, as ca of the feed; insecure: true takes any.',
  ),
  CAMERA_NO_STREAM: busy(
    502,
    'Something answers at the camera’s address, and it is no video and no pictures.',
    'Ask the camera for its addresses: outrider cameras probe HOST.',
  ),
  CAMERA_CODEC: busy(
    502,
    'This machine’s ffmpeg cannot decode the camera’s stream.',
    'Set the camera to H.264, install an ffmpeg with the named codec, or set hwaccel: none.',
  ),
  CAMERA_STALLED: busy(
    503,
    'The camera is connected, and gives no pictures.',
    'Look at the camera; the connection is made anew. A slow one wants a longer stallAfter.',
  ),
  CAMERA_ENDED: busy(
    503,
    'The camera’s stream ended.',
    'It is connected again; look at the camera where that goes on.',
  ),
  CHILD_FAILED: world(500, 'A part could not be started.', 'See the message and the log.'),

  INVARIANT_BROKEN: {
    kind: 'bug',
    retry: 'never',
    httpStatus: 500,
    meaning: 'Our own mistake.',
    remedy: 'Please report it with the log lines around it.',
  },
} as const satisfies Record<string, ErrorEntry>;

/** Code of a failure, a key of the error table. */
export type ErrorCode = keyof typeof ERRORS;

/** The codes as a list, for schemas. */
export const ERROR_CODES = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]];

/** The only error that Outrider throws: a code of the table, a sentence, and what caused it. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  /** Facts for the log and the caller; never an input, never a secret. */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: ErrorCode,
    message: string = ERRORS[code].meaning,
    options: { cause?: unknown; details?: Record<string, unknown> } = {},
  ) {
    super(bounded(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details;
  }
}

/** What others have sent is quoted (names of unknown fields, say): nobody reads more, and a log must not be washed away by it. */
const MAX_MESSAGE_CHARACTERS = 4_000;

const bounded = (message: string): string =>
  message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS - 1)}…` : message;

/** Whether a thrown value is an AppError with this code (any code, when none is given). */
export function isAppError(error: unknown, code?: ErrorCode): error is AppError {
  return error instanceof AppError && (code === undefined || error.code === code);
}

/** What the system's own codes mean: whose fault it is, in words. errno(3), and Node's for DNS */
const SYSTEM_CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOSPC: ['DISK_FULL', 'no space is left'],
  EDQUOT: ['DISK_FULL', 'the quota is used up'],
  EACCES: ['ACCESS_DENIED', 'permission denied'],
  EPERM: ['ACCESS_DENIED', 'not permitted'],
  EROFS: ['ACCESS_DENIED', 'the file system is read-only'],
  ENOENT: ['PATH_INVALID', 'there is no such file or folder'],
  ENOTDIR: ['PATH_INVALID', 'a part of the path is no folder'],
  ENAMETOOLONG: ['PATH_INVALID', 'the name is too long'],
  ELOOP: ['PATH_INVALID', 'links lead in a circle'],
  EISDIR: ['NOT_A_FILE', 'it is a folder'],
  EMFILE: ['TOO_MANY_FILES', 'this program has too many files open'],
  ENFILE: ['TOO_MANY_FILES', 'the machine has too many files open'],
  EIO: ['DISK_FAILED', 'the disk reports a fault'],
  ENOTFOUND: ['NAME_UNRESOLVED', 'no such host'],
  EAI_AGAIN: ['NAME_UNRESOLVED', 'no DNS server answers'],
  ECONNREFUSED: ['CONNECTION_LOST', 'nobody listens there'],
  ECONNRESET: ['CONNECTION_LOST', 'the other side hung up'],
  ECONNABORTED: ['CONNECTION_LOST', 'the connection was given up'],
  EPIPE: ['CONNECTION_LOST', 'the other side hung up'],
  ENXIO: ['CONNECTION_LOST', 'nobody reads it'],
  EAGAIN: ['CONNECTION_LOST', 'it is not read fast enough'],
  ETIMEDOUT: ['CONNECTION_LOST', 'no answer came in time'],
  EHOSTUNREACH: ['CONNECTION_LOST', 'the host cannot be reached'],
  ENETUNREACH: ['CONNECTION_LOST', 'the network cannot be reached'],
};
/** Their messages name paths and hosts of this machine: for its log and terminal, not for who asks from elsewhere. */
const LOCAL_CODES: ReadonlySet<ErrorCode> = new Set([
  'INVARIANT_BROKEN',
  'ACCESS_DENIED',
  'PATH_INVALID',
  'TOO_MANY_FILES',
  'DISK_FAILED',
  'NAME_UNRESOLVED',
  'CONNECTION_LOST',
]);

/** Makes an AppError of anything thrown: what the system says keeps its path; what has no code is our bug. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const known = SYSTEM_CODES[systemCode(error) ?? ''];
  if (known) return new AppError(known[0], systemMessage(error, known[1]), { cause: error });
  const text = error instanceof Error ? error.message : String(error);
  return new AppError('INVARIANT_BROKEN', `unexpected: ${text}`, { cause: error });
}

/** FILE_UNREADABLE, with the system's own reason. @param what a path, or what it is with its path */
export function unreadable(what: string, cause: unknown): AppError {
  const [, why] = SYSTEM_CODES[systemCode(cause) ?? ''] ?? [];
  return new AppError('FILE_UNREADABLE', `${what} cannot be read${why === undefined ? '' : `: ${why}`}`, {
    cause,
  });
}

/** `/data/agent.lock: permission denied (EACCES, open)`. */
function systemMessage(error: unknown, what: string): string {
  const facts = error as Record<'path' | 'dest' | 'hostname' | 'syscall', unknown>;
  const about = [facts.path, facts.dest].filter((one) => typeof one === 'string').join(' to ');
  const host = typeof facts.hostname === 'string' ? facts.hostname : addressOf(error)?.inBrackets;
  const where = about || host;
  const how = [systemCode(error), facts.syscall].filter((one) => typeof one === 'string').join(', ');
  return `${where ? `${where}: ` : ''}${what} (${how})`;
}

/** Text of a failure that is told as it is; Node writes `::1:1883`, which nobody can read. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const address = addressOf(error);
  return address ? error.message.replace(address.asNodeWrites, address.inBrackets) : error.message;
}

/** The other side of a failed call to the network, if it has one. */
function addressOf(error: unknown): { asNodeWrites: string; inBrackets: string } | undefined {
  const { address, port } = error as { address?: unknown; port?: unknown };
  if (typeof address !== 'string') return undefined;
  const suffix = typeof port === 'number' ? `:${port}` : '';
  const host = address.includes(':') ? `[${address}]` : address;
  return { asNodeWrites: `${address}${suffix}`, inBrackets: `${host}${suffix}` };
}

/** Whether a file system call failed for want of space or quota. */
export function isDiskFull(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The `code` of a Node system error (`ENOENT`, …), if it is one. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Failure as it looks on the wire and on every sink: never a stack, never an input. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
}

/** The public face of a failure; the message of our own bugs, and paths of this machine, stay inside. */
export function toErrorBody(error: unknown): ErrorBody {
  const known = toAppError(error);
  return {
    code: known.code,
    message: LOCAL_CODES.has(known.code) ? ERRORS[known.code].meaning : known.message,
  };
}
