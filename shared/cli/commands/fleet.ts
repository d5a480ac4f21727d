/** `outrider models ls`, `devices ls|enroll|revoke`, `keys ls|create|revoke`: the admin API as tables. */
import {
  createdKey,
  deviceList,
  enrollmentToken,
  keyList,
  keyScope,
  modelList,
} from '../../contract/admin.ts';
import type { Telemetry } from '../../contract/messages.ts';
import { deviceId } from '../../contract/names.ts';
import { AppError } from '../../runtime/errors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { agoText, bytesText, print, table } from '../output.ts';

type Options = HubOptions & { readonly json?: boolean };

export async function listModels(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).get('/api/v1/models', modelList);
  print(options.json, found, () =>
    table(
      ['name', 'task', 'version', 'size', 'loaded', 'digest'],
      found.models.map((one) => [
        one.name,
        one.task,
        one.version,
        bytesText(one.bytes),
        one.loaded ? 'yes' : 'no',
        one.digest.slice(0, 12),
      ]),
    ),
  );
}

export async function listDevices(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).get('/api/v1/devices', deviceList);
  const now = Date.now();
  print(options.json, found, () =>
    table(
      ['device', 'state', 'last seen', 'agent', 'waits', 'link today', 'pipelines'],
      found.devices.map(({ id, online, lastSeenAtMs, expiresAtMs, contestedAtMs, reported, telemetry }) => [
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
          .map(({ name, edge, cloud }) => `${name} (${edge?.name ?? '–'} → ${cloud ?? '–'})`)
          .join(', ') ?? '–',
      ]),
    ),
  );
}

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

export async function listKeys(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).get('/api/v1/keys', keyList);
  print(options.json, found, () =>
    table(
      ['id', 'name', 'scopes', 'created', 'expires'],
      found.keys.map(({ id, name, scopes, createdAtMs, expiresAtMs }) => [
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
