/** What a device asks for itself, with its own credential as Bearer: `/api/v1/devices/self/…`. */
import { Hono } from 'hono';
import { renewRequest } from '../../shared/contract/messages.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { DesiredBook, DeviceCredentials } from '../ports.ts';
import type { BodyReader } from './body.ts';
import { type HubEnv, requireDevice, type Welcome } from './face.ts';
import type { RateBound } from './rate-bound.ts';

export interface DeviceApiOptions {
  readonly devices: DeviceCredentials;
  readonly desired: DesiredBook;
  readonly welcome: Welcome;
  readonly bodies: BodyReader;
  /** By device: each of these may cost a writing here and at the broker. */
  readonly attempts: RateBound;
}

export function createDeviceApi({
  devices,
  desired,
  welcome,
  bodies,
  attempts,
}: DeviceApiOptions): Hono<HubEnv> {
  const app = new Hono<HubEnv>();
  const device = requireDevice(devices);

  app.post('/credential', device, async (c) => {
    const { id, secret } = c.get('device');
    attempts.take(id);
    const request = await bodies.json(c.req.raw, renewRequest);
    return c.json(welcome(c, id, await devices.renew(id, secret, request.secret)));
  });

  app.get('/desired', device, (c) => {
    const wanted = desired.of(c.get('device').id);
    if (!wanted) throw new AppError('NOT_FOUND', 'this device has not reported what it has yet');
    return c.json(wanted);
  });

  app.post('/link', device, async (c) => {
    const { id, secret } = c.get('device');
    attempts.take(id);
    return c.json(welcome(c, id, await devices.link(id, secret)));
  });

  return app;
}
