/** `outrider sign-in`, `devices ls|enroll|revoke|pin|unpin`, `keys ls|create|revoke`: the admin API as tables. */
import { join, resolve } from 'node:path';
import { z } from 'zod';
import {
  createdKey,
  type DeviceInstall,
  deviceList,
  devicePins,
  enrollmentTokenAnswer,
  keyList,
  keyScope,
  signInLink,
} from '../../shared/contract/admin.ts';
import { captureSummary, erasedCaptures } from '../../shared/contract/captures.ts';
import { ENROL_TOKEN_FILE } from '../../shared/contract/enrol-token.ts';
import type { Telemetry, UpdateReport } from '../../shared/contract/messages.ts';
import { deviceId, modelName, modelVersion } from '../../shared/contract/names.ts';
import { AGENT_NAME, releaseVersion } from '../../shared/contract/releases.ts';
import { readJson, writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { isLoopback, plainTextProblem } from '../../shared/runtime/loopback.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { agoText, bytesText, note, print, table } from '../output.ts';
import { agentUpdateLines, updateText, versionText } from '../update-text.ts';
import { labelsIn, labelsText } from './labels.ts';

type Options = HubOptions & { readonly json?: boolean };

/** `outrider sign-in`, for a browser: the path that the hub makes, below the address by which this command has found it. */
export async function signIn(options: Options): Promise<void> {
  const hub = await HubClient.find(options);
  const { path, expiresInMs } = await hub.post('/api/v1/sign-ins', {}, signInLink);
  const url = `${hub.url}${path}`;
  print(options.json, { url, expiresInMs }, () => `Sign in once, within ten minutes: ${url}`);
}

/** `outrider devices ls`: every device with its state, what waits on it, and its updates. */
export async function listDevices(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).getAll('/api/v1/devices', deviceList, 'devices');
  const now = Date.now();
  print(options.json, { devices: found }, () =>
    table(
      ['device', 'state', 'last seen', 'agent', 'labels', 'waits', 'link today', 'pipelines', 'updates'],
      found.map(({ id, online, lastSeenAtMs, labels, expiresAtMs, contestedAtMs, reported, telemetry }) => [
        id,
        [
          online ? 'online' : 'offline',
          ...(contestedAtMs === null ? [] : ['two programs use this id']),
          ...(expiresAtMs !== null && expiresAtMs <= now ? ['credential ended'] : []),
        ].join(', '),
        agoText(lastSeenAtMs, now),
        reported?.agentVersion ?? '–',
        labelsText(labels),
        String(telemetry?.outbox.entries ?? '–'),
        linkText(telemetry),
        reported?.pipelines
          .map(({ name, edge, cloud }) => `${name} (${edge ? versionText(edge) : '–'} → ${cloud ?? '–'})`)
          .join(', ') ?? '–',
        [
          ...(reported?.updates?.filter(isOpenOrRefused).map(updateText) ?? []),
          ...(reported?.agent ? agentUpdateLines(reported.agent) : []),
        ].join('; '),
      ]),
    ),
  );
}

/** What has gone well is in the versions already. */
const isOpenOrRefused = ({ phase }: UpdateReport): boolean => phase !== 'committed';

/** Bytes up and down, by the device's own count. */
function linkText(telemetry: Telemetry | null): string {
  if (!telemetry) return '–';
  const { use } = telemetry.link;
  const [up, down] = [use.map(({ upBytes }) => upBytes), use.map(({ downBytes }) => downBytes)].map((all) =>
    all.reduce((sum, bytes) => sum + bytes, 0),
  );
  return `${bytesText(up ?? 0)} up, ${bytesText(down ?? 0)} down`;
}

type EnrollCommandOptions = Options & { readonly to?: string; readonly label?: readonly string[] };

/** Prints a one-time token and the command that uses it, or puts the token where the agent finds it. */
export async function enrollDevice(id: string | undefined, options: EnrollCommandOptions): Promise<void> {
  const checked = id === undefined ? undefined : deviceId.safeParse(id);
  if (checked && !checked.success)
    throw new AppError('USAGE', `“${id}” is no device id: ${checked.error.issues[0]?.message}`);
  const hub = await HubClient.find(options);
  if (options.to !== undefined) return enrollInto(hub, id, { ...options, to: options.to });
  const known = id === undefined ? [] : await hub.getAll('/api/v1/devices', deviceList, 'devices');
  const before = known.find((one) => one.id === id);
  const made = await createToken(hub, id, options.label);
  if (made.install?.platforms.length === 0 && !options.json)
    note(
      'This hub has no release for devices yet. In a checkout: npx outrider release --platform linux-arm64 --with-node --out DIR, where DIR is its folder of releases (data/hub/releases, or --releases).',
    );
  if (made.install && isLoopback(new URL(made.install.hubUrl).hostname) && !options.json)
    note(
      'This hub is reached from its own machine alone: to have devices elsewhere, start it with --hub-host and --mqtt-host.',
    );
  if (before && !options.json)
    note(
      `${before.id} is enrolled already${before.online ? ', and online now' : ''}: the program that uses this token takes its place, and the one that has it is turned away.`,
    );
  const line = made.install && installLine(made.install, made.token, id);
  print(options.json, { ...made, ...(line && { line }), isEnrolled: before !== undefined }, () =>
    [
      `Token (one use, until ${new Date(made.expiresAtMs).toISOString()}): ${made.token}`,
      ...(line ? [`On a device with systemd, this line installs the agent:\n  ${line}`] : []),
      // By its path: where it is not installed, npx would fetch a stranger's package of that name.
      `${line ? 'Or on' : 'On'} the device, in its folder of Outrider: OUTRIDER_ENROLL_TOKEN=${made.token} node bin/outrider.mjs agent --hub ${hub.url}${id === undefined ? '' : ` --device ${id}`}`,
    ].join('\n'),
  );
}

/**
 * One line for a device's shell. The hub's own authority is known by its digest, so that nobody in between can show another script; the
 * token is seen in the list of processes while the line runs, and is worth nothing afterwards.
 */
function installLine({ hubUrl, caSha256 }: DeviceInstall, token: string, id: string | undefined): string {
  const flags = [
    `--token ${token}`,
    ...(id === undefined ? [] : [`--device ${id}`]),
    ...(plainTextProblem(hubUrl) === undefined ? [] : ['--insecure-plain-text']),
  ].join(' ');
  if (caSha256 === null) return `curl -fsSL ${hubUrl}/install.sh | sudo sh -s -- ${flags}`;
  return [
    `ca=$(mktemp) && curl -fsSk -o "$ca" ${hubUrl}/ca.pem`,
    `echo "${caSha256}  $ca" | sha256sum -c --quiet`,
    `curl -fsSL --cacert "$ca" ${hubUrl}/install.sh | sudo sh -s -- ${flags}`,
  ].join(' && ');
}

/** Only who is not enrolled yet gets a token, so that this may run at every start. */
async function enrollInto(
  hub: HubClient,
  id: string | undefined,
  { to, json, label }: EnrollCommandOptions & { readonly to: string },
): Promise<void> {
  if (id === undefined) throw new AppError('USAGE', '--to needs the device’s id');
  const folder = join(resolve(to), 'agent');
  const credential = await readJson(join(folder, 'credential.json'), z.object({ deviceId }));
  const known = await hub.getAll('/api/v1/devices', deviceList, 'devices');
  if (credential?.deviceId === id && known.some((one) => one.id === id))
    return print(json, { deviceId: id, enrolled: true }, () => `${id} is enrolled already.`);
  const { token, expiresAtMs } = await createToken(hub, id, label);
  const path = join(folder, ENROL_TOKEN_FILE);
  await writeFileAtomic(path, `${token}\n`, 0o600);
  print(
    json,
    { deviceId: id, enrolled: false, path, expiresAtMs },
    () => `${id} finds its token in ${path}.`,
  );
}

const createToken = (
  hub: HubClient,
  id: string | undefined,
  labels: readonly string[] = [],
): Promise<z.infer<typeof enrollmentTokenAnswer>> =>
  hub.post(
    '/api/v1/enrollment-tokens',
    {
      ...(id !== undefined && { deviceId: id }),
      ...(labels.length > 0 && { labels: labelsIn(labels) }),
    },
    enrollmentTokenAnswer,
  );

/** `outrider devices revoke`: ends the credential of a device, and says what is kept of it. */
export async function revokeDevice(
  id: string,
  options: Options & { readonly captures?: boolean },
): Promise<void> {
  const hub = await HubClient.find(options);
  const query = `?device=${encodeURIComponent(id)}`;
  await hub.delete(`/api/v1/devices/${encodeURIComponent(id)}`);
  // Once it is cut off: none comes any more. A hub of another release may know nothing of captures.
  const erased = options.captures ? (await hub.remove(`/api/v1/captures${query}`, erasedCaptures)).erased : 0;
  const kept = await hub
    .get(`/api/v1/capture-summary${query}`, captureSummary)
    .then((summary) => summary.kept)
    .catch(() => 0);
  print(options.json, { revoked: id, captures: { kept, erased } }, () =>
    [
      `${id} is revoked.`,
      ...(erased > 0 ? [`${erased} captures of it are erased.`] : []),
      ...(kept > 0
        ? [`The hub keeps ${kept} captures of it: outrider captures rm --device ${id} erases them.`]
        : []),
    ].join('\n'),
  );
}

/** Has one device run a version of its own; without a version it follows the others again. */
export async function pinDevice(
  id: string,
  model: string,
  version: string | undefined,
  options: Options,
): Promise<void> {
  if (!modelName.safeParse(model).success) throw new AppError('MODEL_UNKNOWN', `“${model}” is no model name`);
  const versions = model === AGENT_NAME ? releaseVersion : modelVersion;
  if (version !== undefined && !versions.safeParse(version).success)
    throw new AppError('USAGE', `“${version}” is no version`);
  const hub = await HubClient.find(options);
  const path = `/api/v1/devices/${encodeURIComponent(id)}/desired`;
  const { value, etag } = await hub.getTagged(path, devicePins);
  const { [model]: _before, ...others } = value.pins;
  const pins = version === undefined ? others : { ...others, [model]: version };
  const now = await hub.change('PUT', path, { etag, body: { pins }, schema: devicePins });
  print(options.json, now, () =>
    version === undefined ? `${id} follows what ${model} deploys.` : `${id} is to run ${model}@${version}.`,
  );
}

/** `outrider devices unpin`: lets a device follow what is deployed again. */
export const unpinDevice = (id: string, model: string, options: Options): Promise<void> =>
  pinDevice(id, model, undefined, options);

/** `outrider keys ls`: every key with its scopes, never its secret. */
export async function listKeys(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).getAll('/api/v1/keys', keyList, 'keys');
  print(options.json, { keys: found }, () =>
    table(
      ['id', 'name', 'scopes', 'created', 'expires'],
      found.map(({ id, name, scopes, createdAtMs, expiresAtMs }) => [
        id,
        name,
        scopes.join(', '),
        new Date(createdAtMs).toISOString(),
        expiresAtMs === null ? 'never' : new Date(expiresAtMs).toISOString(),
      ]),
    ),
  );
}

/**
 * `outrider keys create`: makes a key and shows its secret, this once.
 *
 * @throws USAGE for an unknown scope
 */
export async function createKey(
  name: string,
  options: Options & { readonly scope: string[] },
): Promise<void> {
  const scopes = options.scope.map((scope) => {
    const parsed = keyScope.safeParse(scope);
    if (!parsed.success)
      throw new AppError('USAGE', `“${scope}” is no scope; there are: ${keyScope.options.join(', ')}`);
    return parsed.data;
  });
  const made = await (await HubClient.find(options)).post('/api/v1/keys', { name, scopes }, createdKey);
  print(options.json, made, () => `Key ${made.id} (${made.scopes.join(', ')}), shown this once: ${made.key}`);
}

/** `outrider keys revoke`: ends a key. */
export async function revokeKey(id: string, options: Options): Promise<void> {
  await (await HubClient.find(options)).delete(`/api/v1/keys/${encodeURIComponent(id)}`);
  print(options.json, { revoked: id }, () => `Key ${id} is revoked.`);
}
