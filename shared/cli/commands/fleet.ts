/** `outrider devices ls|enroll|revoke|pin|unpin`, `keys ls|create|revoke`: the admin API as tables. */
import {
  createdKey,
  deviceList,
  devicePins,
  enrollmentToken,
  keyList,
  keyScope,
} from '../../contract/admin.ts';
import type { Telemetry, UpdateReport } from '../../contract/messages.ts';
import { deviceId, modelName, modelVersion } from '../../contract/names.ts';
import { AppError } from '../../runtime/errors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { agoText, bytesText, print, table } from '../output.ts';
import { updateText, versionText } from '../update-text.ts';

type Options = HubOptions & { readonly json?: boolean };

export async function listDevices(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).getAll('/api/v1/devices', deviceList, 'devices');
  const now = Date.now();
  print(options.json, { devices: found }, () =>
    table(
      ['device', 'state', 'last seen', 'agent', 'waits', 'link today', 'pipelines', 'updates'],
      found.map(({ id, online, lastSeenAtMs, expiresAtMs, contestedAtMs, reported, telemetry }) => [
        id,
        [
          online ? 'online' : 'offline',
          ...(contestedAtMs === null ? [] : ['two programs use this id']),
          ...(expiresAtMs !== null && expiresAtMs <= now ? ['credential ended'] : []),
        ].join(', '),
        agoText(lastSeenAtMs, now),
        reported?.agentVersion ?? '–',
        String(telemetry?.outbox.entries ?? '–'),
        linkText(telemetry),
        reported?.pipelines
          .map(({ name, edge, cloud }) => `${name} (${edge ? versionText(edge) : '–'} → ${cloud ?? '–'})`)
          .join(', ') ?? '–',
        reported?.updates?.filter(isOpenOrRefused).map(updateText).join('; ') ?? '',
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

/** Prints a one-time token and the command that uses it. */
export async function enrollDevice(id: string | undefined, options: Options): Promise<void> {
  const checked = id === undefined ? undefined : deviceId.safeParse(id);
  if (checked && !checked.success)
    throw new AppError('USAGE', `“${id}” is no device id: ${checked.error.issues[0]?.message}`);
  const hub = await HubClient.find(options);
  const made = await hub.post(
    '/api/v1/enrollment-tokens',
    { ...(id !== undefined && { deviceId: id }) },
    enrollmentToken,
  );
  print(options.json, made, () =>
    [
      `Token (one use, until ${new Date(made.expiresAtMs).toISOString()}): ${made.token}`,
      `On the device: OUTRIDER_ENROLL_TOKEN=${made.token} npx outrider agent --hub ${hub.url}${id === undefined ? '' : ` --device ${id}`}`,
    ].join('\n'),
  );
}

export async function revokeDevice(id: string, options: Options): Promise<void> {
  await (await HubClient.find(options)).delete(`/api/v1/devices/${encodeURIComponent(id)}`);
  print(options.json, { revoked: id }, () => `${id} is revoked.`);
}

/** Has one device run a version of its own; without a version it follows the others again. */
export async function pinDevice(
  id: string,
  model: string,
  version: string | undefined,
  options: Options,
): Promise<void> {
  if (!modelName.safeParse(model).success) throw new AppError('MODEL_UNKNOWN', `“${model}” is no model name`);
  if (version !== undefined && !modelVersion.safeParse(version).success)
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

export const unpinDevice = (id: string, model: string, options: Options): Promise<void> =>
  pinDevice(id, model, undefined, options);

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

export async function revokeKey(id: string, options: Options): Promise<void> {
  await (await HubClient.find(options)).delete(`/api/v1/keys/${encodeURIComponent(id)}`);
  print(options.json, { revoked: id }, () => `Key ${id} is revoked.`);
}
