/** What the doctor asks of a hub: whether it is there, whether the clocks agree, and how its devices are. */
import { z } from 'zod';
import { type DeviceRecord, deviceList, type ModelRecord, modelList } from '../../shared/contract/admin.ts';
import { type CaptureSummary, captureSummary } from '../../shared/contract/captures.ts';
import { evidenceStatus } from '../../shared/contract/fleet-evidence.ts';
import { type SigningStatus, signingStatus } from '../../shared/contract/signing.ts';
import { evidenceText } from '../../shared/page/text.js';
import { ERRORS, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import type { HubClient } from '../hub-client.ts';
import { bytesText, spanText } from '../output.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import { checkAgentUpdate, checkUpdates } from './updates.ts';

/** Findings about a hub, and whether later checks can count on it. */
export interface HubLook {
  readonly findings: readonly Finding[];
  readonly isUp: boolean;
  /** Something answers at its address, and whether that is the hub cannot be told: its certificate is not trusted, say. */
  readonly isUnclear?: boolean;
  /** Whether it says that its broker is connected. */
  readonly isReady: boolean;
}

const notReady = z.object({ reason: z.string() });
/** TLS certificates and signed metadata are checked against the clock. */
const MAX_SKEW = { warnMs: 30_000, failMs: 300_000 };
/** A device renews at two thirds of its credential's life; one that has so little left is not renewing. */
const SOON_MS = 3 * 86_400_000;

/** Requests that may wait for a model of which nothing else was said (docs/operate.md). */
const USUAL_QUEUE = 2_000;

/** @param isNamed whether somebody said that there is a hub at this address */
export async function lookAtHub(hub: HubClient, isNamed: boolean): Promise<HubLook> {
  const startAtMs = Date.now();
  let ready: Response;
  try {
    ready = await hub.ask('/readyz');
  } catch (error) {
    const { code, message } = toAppError(error);
    const { remedy } = ERRORS[code];
    const finding =
      isNamed || code !== 'HUB_UNREACHABLE'
        ? fail('hub', `${message} (${code})`, remedy)
        : warn('hub', `no hub runs at ${hub.url}`, 'If there is one elsewhere, name it with --hub.');
    const isUnclear = code !== 'HUB_UNREACHABLE' && code !== 'NAME_UNRESOLVED';
    return { findings: [finding], isUp: false, isUnclear, isReady: false };
  }
  const skew = checkSkew(ready.headers.get('date'), (startAtMs + Date.now()) / 2);
  const reason = ready.ok
    ? undefined
    : notReady.safeParse(await ready.json().catch(() => undefined)).data?.reason;
  const about: Finding = ready.ok
    ? ok('hub', `${hub.url} answers, and its broker is connected`)
    : fail('hub', `${hub.url} is up but cannot answer: ${reason ?? ready.status}`, 'See data/logs/hub*.log.');
  return {
    findings: [
      about,
      ...skew,
      await checkVersion(hub),
      ...(await checkDevices(hub)),
      ...(await checkModels(hub)),
      ...(await checkSigning(hub)),
      ...(await checkEvidence(hub)),
      ...(await checkCaptures(hub)),
    ],
    isUp: true,
    isReady: ready.ok,
  };
}

/** @param nowAtMs when it was said, by this clock; the header has whole seconds. RFC 9110 6.6.1 */
export function checkSkew(date: string | null, nowAtMs: number): Finding[] {
  const saidAtMs = Date.parse(date ?? '');
  if (Number.isNaN(saidAtMs)) return [];
  const skewMs = nowAtMs - saidAtMs - 500;
  const size = Math.abs(skewMs);
  if (size <= MAX_SKEW.warnMs) return [ok('clock and hub', 'they agree')];
  const found = `this clock is ${spanText(size)} ${skewMs > 0 ? 'ahead of' : 'behind'} the hub’s`;
  const todo = 'Let NTP set both clocks: certificates and signed updates are checked against them.';
  return [size > MAX_SKEW.failMs ? fail('clock and hub', found, todo) : warn('clock and hub', found, todo)];
}

/** Both pages name their version as their generator. */
async function checkVersion(hub: HubClient): Promise<Finding> {
  const page = await hub
    .ask('/')
    .then((response) => response.text())
    .catch(() => '');
  const version = /content="Outrider ([^"]+)"/.exec(page)?.[1];
  if (version === undefined)
    return warn('hub version', 'it does not say', 'Check that this address is the hub’s own.');
  return version === VERSION
    ? ok('hub version', version)
    : warn('hub version', `${version}, and this is ${VERSION}`, 'Run the same release on both.');
}

async function checkDevices(hub: HubClient): Promise<Finding[]> {
  try {
    const devices = await hub.getAll('/api/v1/devices', deviceList, 'devices');
    const online = devices.filter((one) => one.online).length;
    const now = Date.now();
    return [
      ok('devices', `${online} of ${devices.length} online`),
      ...devices.flatMap((device) => checkDevice(device, now)),
    ];
  } catch (error) {
    if (!isAppError(error)) throw error;
    const isKey = error.code === 'UNAUTHORIZED' || error.code === 'FORBIDDEN';
    const found = isKey ? 'not looked at without an admin key' : `${error.message} (${error.code})`;
    return [
      warn('devices', found, isKey ? 'Give one with --key or OUTRIDER_KEY.' : ERRORS[error.code].remedy),
    ];
  }
}

/** What is held in memory, what waits, and the servers that models run on. What keeps it from looking is told of the devices. */
async function checkModels(hub: HubClient): Promise<Finding[]> {
  const models = await hub.getAll('/api/v1/models', modelList, 'models').catch((): ModelRecord[] => []);
  const devices = await hub.getAll('/api/v1/devices', deviceList, 'devices').catch((): DeviceRecord[] => []);
  return [...loadFindings(models), ...models.flatMap(checkEngine), ...askedFindings(devices, models)];
}

/** Findings about cloud models that pipelines ask and that cannot answer them: not there, or for another task. */
export function askedFindings(
  devices: readonly Pick<DeviceRecord, 'id' | 'reported'>[],
  models: readonly Pick<ModelRecord, 'name' | 'task'>[],
): Finding[] {
  const tasks = new Map(models.map(({ name, task }) => [name, task]));
  const wrong = new Map<string, string[]>();
  for (const { id, reported } of devices)
    for (const { name, task, cloud } of reported?.pipelines ?? []) {
      if (cloud === null || tasks.get(cloud) === task) continue;
      const does = tasks.get(cloud);
      const why = does === undefined ? `there is no model ${cloud}` : `${cloud} does ${does}, not ${task}`;
      wrong.set(why, [...(wrong.get(why) ?? []), `${id} / ${name}`]);
    }
  return Array.from(wrong, ([why, askers]) => {
    const [first, ...others] = askers;
    const who = others.length === 0 ? first : `${first} and ${others.length} more`;
    const todo = 'Push it to this hub, or name another under cloud in outrider.yaml.';
    return fail('cloud models', `${why}: ${who} ${others.length === 0 ? 'asks' : 'ask'} in vain`, todo);
  });
}

/** Findings about what models take, and of those that more is asked of than the machine answers. */
export function loadFindings(
  models: readonly Pick<ModelRecord, 'name' | 'loaded' | 'memoryBytes' | 'waiting' | 'maxQueue'>[],
): Finding[] {
  if (models.length === 0) return [];
  const about = 'hub models';
  const loaded = models.filter((one) => one.loaded);
  const bytes = loaded.reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0);
  const waiting = models.reduce((sum, one) => sum + one.waiting, 0);
  const held = `${loaded.length} of ${models.length} in memory, ${bytesText(bytes)}`;
  const behind = models.filter((one) => one.waiting > (one.maxQueue ?? USUAL_QUEUE) / 2);
  return [
    ok(about, waiting === 0 ? held : `${held}; ${waiting} requests wait`),
    ...behind.map(({ name, waiting: its }) =>
      warn(
        about,
        `${its} requests wait for ${name}: more is asked of it than this machine answers`,
        'Give it more cores or a GPU, ask less of it, or refuse sooner: outrider models set NAME --max-queue N.',
      ),
    ),
  ];
}

/** What devices have told, where any has. What keeps it from looking is told of the devices. */
async function checkEvidence(hub: HubClient): Promise<Finding[]> {
  const status = await hub.get('/api/v1/evidence', evidenceStatus).catch(() => undefined);
  const told = status && evidenceText(status, Date.now());
  return told ? [ok('evidence', told)] : [];
}

/** Signatures of updates that end. What keeps it from looking is told of the devices. */
async function checkSigning(hub: HubClient): Promise<Finding[]> {
  const status = await hub.get('/api/v1/tuf/status', signingStatus).catch(() => undefined);
  return status ? signingFindings(status, Date.now()) : [];
}

/** What is kept to learn from. What keeps it from looking is told of the devices; a hub of another release may keep none. */
async function checkCaptures(hub: HubClient): Promise<Finding[]> {
  const summary = await hub.get('/api/v1/capture-summary', captureSummary).catch(() => undefined);
  return summary && (summary.kept > 0 || summary.dropped.failed !== undefined)
    ? [captureFinding(summary)]
    : [];
}

/** Finding about what is kept to learn from. */
function captureFinding({ kept, bytes, maxBytes, disagreeing, dropped }: CaptureSummary): Finding {
  const about = 'captures';
  const found = `${kept} kept, ${bytesText(bytes)} of ${bytesText(maxBytes)}, ${disagreeing} disagree`;
  const failed = dropped.failed ?? 0;
  if (failed === 0) return ok(about, found);
  return warn(
    about,
    `${found}; ${failed} could not be written`,
    'See data/logs/hub*.log (captures.not_kept).',
  );
}

/** Findings about who signs updates: all that somebody has to do something about. */
export function signingFindings({ roles, toList, toDelist }: SigningStatus, nowAtMs: number): Finding[] {
  const about = 'signatures';
  const findings = roles.flatMap(({ role, level, expiresAtMs, todo }): Finding[] => {
    if (todo === null) return [];
    const leftMs = (expiresAtMs ?? nowAtMs) - nowAtMs;
    const ends = level === 'expired' ? 'has ended' : `ends in ${spanText(leftMs)}`;
    const found = expiresAtMs === null ? `${role} signs nothing that counts` : `that of ${role} ${ends}`;
    return [level === 'soon' ? warn(about, found, todo) : fail(about, found, todo)];
  });
  const names = (all: SigningStatus['toList']): string =>
    all.map(({ model, version }) => `${model}@${version}`).join(', ');
  if (toList.length > 0)
    findings.push(
      warn(about, `to be listed: ${names(toList)}`, 'outrider models push FOLDER --signing-key FILE'),
    );
  if (toDelist.length > 0)
    findings.push(
      warn(
        about,
        `removed, and listed still: ${names(toDelist)}`,
        'outrider models rm NAME@VERSION --signing-key FILE',
      ),
    );
  if (findings.length > 0) return findings;
  const next = roles.filter(({ renewsItself, expiresAtMs }) => !renewsItself && expiresAtMs !== null);
  const firstMs = Math.min(...next.map(({ expiresAtMs }) => expiresAtMs ?? Number.POSITIVE_INFINITY));
  const until = next.length === 0 ? '' : `; the next that people sign ends in ${spanText(firstMs - nowAtMs)}`;
  return [ok(about, `${roles.length} roles, all good${until}`)];
}

/** Finding about the server of one model. */
function checkEngine({ name, engine }: ModelRecord): Finding[] {
  if (!engine) return [];
  const about = `engine of ${name}`;
  const { url, status, fallback } = engine;
  const failure = status?.failure;
  const isFailing = status && failure && (status.wellAtMs ?? 0) <= failure.atMs;
  if (!status || (!isFailing && status.breaker === 'closed'))
    return [ok(about, status?.wellAtMs == null ? `${url} has not been asked yet` : `${url} answers`)];
  const found = `${failure?.message ?? url} (${failure?.code ?? status.breaker}); its circuit breaker is ${status.breaker}`;
  const { remedy } =
    ERRORS[failure && failure.code in ERRORS ? (failure.code as keyof typeof ERRORS) : 'ENGINE_UNREACHABLE'];
  return [
    fallback === null
      ? fail(about, found, remedy)
      : warn(about, `${found}; ${fallback} answers in its place`, remedy),
  ];
}

/** Findings about one device, only what is not as it should be: a fleet may be large. */
export function checkDevice(device: DeviceRecord, nowAtMs: number): Finding[] {
  const { id, online, expiresAtMs, contestedAtMs, reported, telemetry } = device;
  const about = `device ${id}`;
  const findings: Finding[] = [];
  const leftMs = expiresAtMs === null ? Number.POSITIVE_INFINITY : expiresAtMs - nowAtMs;
  if (leftMs <= 0)
    findings.push(fail(about, 'its credential has ended', `Enrol it again: outrider devices enroll ${id}.`));
  else if (leftMs < SOON_MS)
    findings.push(
      warn(
        about,
        `its credential ends in ${spanText(leftMs)}`,
        'It renews by itself when it has a link to the hub.',
      ),
    );
  if (contestedAtMs !== null)
    findings.push(
      fail(about, 'two programs use its id in turn', 'End one of them, or give it an id of its own.'),
    );
  if (online && reported && reported.agentVersion !== VERSION)
    findings.push(
      warn(
        about,
        `runs ${reported.agentVersion}, and this is ${VERSION}`,
        reported.agent?.managed
          ? 'Bring it to the devices in stages: outrider rollout start outrider-agent@VERSION.'
          : 'Run the same release on both.',
      ),
    );
  if (telemetry && telemetry.outbox.deadLetters > 0)
    findings.push(
      warn(
        about,
        `has given up ${telemetry.outbox.deadLetters} requests`,
        'Look at them on the device: outrider outbox ls --dead.',
      ),
    );
  return [
    ...findings,
    ...checkUpdates(about, reported?.updates ?? []),
    ...checkAgentUpdate(about, reported?.agent),
  ];
}
