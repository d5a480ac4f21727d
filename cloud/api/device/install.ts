/** Outrider for devices that have none: the install script, and the releases that it fetches. Open: nothing in them is secret. */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { DeviceInstall } from '../../../shared/contract/admin.ts';
import { releaseList } from '../../../shared/contract/releases.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import { isLoopback } from '../../../shared/runtime/loopback.ts';
import type { HubAuthority, ReleaseShelf } from '../../ports.ts';
import { type Api, anyBytes, binary, json, mount } from '../frame/endpoint.ts';
import type { HubEnv } from '../frame/face.ts';
import { sendFile } from '../frame/file-answer.ts';
import { OPEN } from '../frame/guards.ts';
import { installScript } from './install-script.ts';

/** Releases, and by which address devices come to them. */
export interface InstallOptions {
  readonly releases: ReleaseShelf;
  readonly authority: HubAuthority | undefined;
  /** Address of the hub as devices are told it; undefined: as each has reached it. */
  readonly publicUrl: string | undefined;
  /** Host by which others reach this one, for who asks from loopback; undefined: nobody else does. */
  readonly hostAbroad: string | undefined;
}

/** Address of the hub for a device, as far as the one who asks can tell. */
function hubUrlFor(
  c: Context<HubEnv>,
  { publicUrl, hostAbroad }: Pick<InstallOptions, 'publicUrl' | 'hostAbroad'>,
): string {
  if (publicUrl !== undefined) return publicUrl.replace(/\/$/, '');
  const url = new URL(c.req.url);
  const { origin } = url;
  if (hostAbroad === undefined || !isLoopback(url.hostname)) return origin;
  url.hostname = hostAbroad;
  return url.origin;
}

/** What `devices enroll` says of how a device is installed from here. */
export async function deviceInstall(c: Context<HubEnv>, options: InstallOptions): Promise<DeviceInstall> {
  const { authority, releases } = options;
  return {
    hubUrl: hubUrlFor(c, options),
    caSha256: authority ? sha256Hex(authority.pem) : null,
    platforms: [...new Set((await releases.list()).map(({ platform }) => platform))],
  };
}

/** `/install.sh` and `/releases`. */
export function createInstallApi(options: InstallOptions): Api {
  const { releases, authority } = options;
  const app: Api = new OpenAPIHono();
  const [tag, guard] = ['for devices', OPEN];
  mount(
    app,
    {
      ...{ method: 'get', path: '/install.sh', tag, guard },
      summary: 'Shows the shell script that installs the agent on a device, or upgrades it',
      responses: { 200: { what: 'The script', content: { 'text/x-shellscript': anyBytes } } },
    },
    async (c) => {
      const caPem = authority?.pem;
      // By the address that it was asked for: a proxy of the caller leads there again.
      const hubUrl = options.publicUrl === undefined ? new URL(c.req.url).origin : hubUrlFor(c, options);
      const script = installScript(hubUrl, { caPem, releases: await releases.list() });
      return c.body(script, 200, { 'content-type': 'text/x-shellscript; charset=utf-8' });
    },
  );
  mount(
    app,
    {
      ...{
        method: 'get',
        path: '/releases',
        tag,
        guard,
        summary: 'Lists the releases of Outrider that devices can install',
      },
      responses: { 200: json('The releases, for each platform the newest first', releaseList) },
    },
    async (c) => c.json({ releases: await releases.list() }),
  );
  mount(
    app,
    {
      ...{
        method: 'get',
        path: '/releases/{file}',
        tag,
        guard,
        summary: 'Reads a release; takes a range of bytes',
      },
      headers: { Range: 'One range of bytes', 'If-Range': 'The ETag of what has come before' },
      responses: {
        200: { what: 'All of it', content: { 'application/octet-stream': binary } },
        206: { what: 'The range', content: { 'application/octet-stream': binary } },
      },
    },
    async (c) => {
      const found = await releases.find(c.req.param('file') ?? '');
      if (!found) throw new AppError('NOT_FOUND', 'there is no release of this name');
      return sendFile(c, found);
    },
  );
  return app;
}
