/** What operators do with models, devices and keys, and how a device enrols: `/api/v1/…`. */
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { enrollmentTokenRequest, keyRequest } from '../../shared/contract/admin.ts';
import { joinEnrolToken } from '../../shared/contract/enrol-token.ts';
import { enrollRequest } from '../../shared/contract/messages.ts';
import type { DeviceAdmin, HubAuthority, KeyBook, ModelShelf } from '../ports.ts';
import type { BodyReader } from './body.ts';
import { type HubEnv, requireScope, type Welcome } from './face.ts';
import type { RateBound } from './rate-bound.ts';

export interface AdminOptions {
  readonly authority: HubAuthority | undefined;
  readonly keys: KeyBook;
  readonly devices: DeviceAdmin;
  readonly models: ModelShelf;
  /** Whether a runner holds the model now. */
  readonly isLoaded: (model: string) => boolean;
  /** What a device is told with its credential. */
  readonly welcome: Welcome;
  readonly bodies: BodyReader;
  readonly enrollments: RateBound;
}

export function createAdminApi(options: AdminOptions): Hono<HubEnv> {
  const { keys, devices, models, bodies } = options;
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
    const made = await devices.createToken(await bodies.json(c.req.raw, enrollmentTokenRequest));
    const token = joinEnrolToken({ secret: made.token, fingerprint: options.authority?.fingerprint });
    return c.json({ ...made, token }, 201);
  });
  // The token is the credential: the device has no key yet.
  app.post('/enroll', async (c) => {
    options.enrollments.take(remoteAddress(c));
    const request = await bodies.json(c.req.raw, enrollRequest);
    const grant = await devices.enroll(request);
    return c.json(options.welcome(c, request.deviceId, grant), 201);
  });

  app.get('/keys', admin, (c) => c.json({ keys: keys.list() }));
  app.post('/keys', admin, async (c) =>
    c.json(await keys.create(await bodies.json(c.req.raw, keyRequest)), 201),
  );
  app.delete('/keys/:id', admin, async (c) => {
    await keys.revoke(c.req.param('id'));
    return c.body(null, 204);
  });

  return app;
}

/** undefined where there is no socket, as in tests: then everybody is the same. */
function remoteAddress(c: Context): string {
  const bindings = c.env as Partial<HttpBindings> | undefined;
  return bindings?.incoming?.socket.remoteAddress ?? '';
}
