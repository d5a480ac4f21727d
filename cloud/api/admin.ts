/** What operators do with models, devices and keys, and how a device enrols: `/api/v1/…`. */
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import type { z } from 'zod';
import { enrollmentTokenRequest, keyRequest } from '../../shared/contract/admin.ts';
import { joinEnrolToken } from '../../shared/contract/enrol-token.ts';
import { type EnrollResponse, enrollRequest } from '../../shared/contract/messages.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { isWildcard } from '../../shared/runtime/loopback.ts';
import type { DeviceAdmin, HubAuthority, KeyBook, ModelShelf } from '../ports.ts';
import type { BodyReader } from './body.ts';
import { type HubEnv, requireScope } from './face.ts';
import type { RateBound } from './rate-bound.ts';

export interface AdminOptions {
  readonly hubId: string;
  /** Where devices find the broker; a host of 0.0.0.0 or [::] is the one by which they have reached the hub. */
  readonly mqttUrl: string;
  readonly authority: HubAuthority | undefined;
  readonly keys: KeyBook;
  readonly devices: DeviceAdmin;
  readonly models: ModelShelf;
  /** Whether a runner holds the model now. */
  readonly isLoaded: (model: string) => boolean;
  readonly bodies: BodyReader;
  readonly enrollments: RateBound;
}

/** No admin request is larger by far. */
const MAX_BODY_BYTES = 64 * 1024;

export function createAdminApi(options: AdminOptions): Hono<HubEnv> {
  const { keys, devices, models } = options;
  const app = new Hono<HubEnv>();
  const admin = requireScope(keys, 'admin');

  app.get('/models', requireScope(keys, 'infer'), (c) =>
    c.json({ models: models.list().map((one) => ({ ...one, loaded: options.isLoaded(one.name) })) }),
  );

  app.get('/devices', admin, (c) => c.json({ devices: devices.list() }));
  app.delete('/devices/:id', admin, async (c) => {
    await devices.revoke(c.req.param('id'));
    return c.body(null, 204);
  });

  app.post('/enrollment-tokens', admin, async (c) => {
    const made = await devices.createToken(await bodyOf(c, enrollmentTokenRequest));
    const token = joinEnrolToken({ secret: made.token, fingerprint: options.authority?.fingerprint });
    return c.json({ ...made, token }, 201);
  });
  // The token is the credential: the device has no key yet.
  app.post('/enroll', async (c) => {
    options.enrollments.take(remoteAddress(c));
    const request = await bodyOf(c, enrollRequest);
    await devices.enroll(request);
    return c.json(welcome(c, request.deviceId), 201);
  });

  /** What a device is told that the hub has taken. */
  function welcome(c: Context<HubEnv>, deviceId: string): EnrollResponse {
    const { hubId, mqttUrl, authority } = options;
    return {
      deviceId,
      hubId,
      mqttUrl: asReached(mqttUrl, c.req.header('host')),
      ...(authority && { ca: authority.bundle }),
    };
  }

  app.get('/keys', admin, (c) => c.json({ keys: keys.list() }));
  app.post('/keys', admin, async (c) => c.json(await keys.create(await bodyOf(c, keyRequest)), 201));
  app.delete('/keys/:id', admin, async (c) => {
    await keys.revoke(c.req.param('id'));
    return c.body(null, 204);
  });

  /** @throws BAD_REQUEST, naming the field */
  function bodyOf<T>(c: Context<HubEnv>, schema: z.ZodType<T>): Promise<T> {
    return options.bodies.with(c.req.raw, MAX_BODY_BYTES, async (bytes) => {
      const parsed = schema.safeParse(tryParseJson(bytes));
      if (parsed.success) return parsed.data;
      const issue = parsed.error.issues[0];
      throw new AppError('BAD_REQUEST', `${issue?.path.join('.') || 'the body'}: ${issue?.message ?? ''}`);
    });
  }

  return app;
}

/** A broker on every address is reached by the name by which its hub was. */
function asReached(url: string, hostHeader: string | undefined): string {
  const at = `http://${hostHeader}`;
  if (!isWildcard(new URL(url).hostname) || hostHeader === undefined || !URL.canParse(at)) return url;
  const { protocol, port } = new URL(url);
  return `${protocol}//${new URL(at).hostname}${port === '' ? '' : `:${port}`}`;
}

/** undefined where there is no socket, as in tests: then everybody is the same. */
function remoteAddress(c: Context): string {
  const bindings = c.env as Partial<HttpBindings> | undefined;
  return bindings?.incoming?.socket.remoteAddress ?? '';
}
