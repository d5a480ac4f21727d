/** Addresses of a device for itself, with its own credential as Bearer: `/api/v1/devices/self/…`. */
import { OpenAPIHono } from '@hono/zod-openapi';
import { desired as desiredSchema, enrollResponse, renewRequest } from '../../../shared/contract/messages.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { DesiredBook, DeviceCredentials } from '../../ports.ts';
import { type Api, json, mount } from '../frame/endpoint.ts';
import type { Welcome } from '../frame/face.ts';
import type { Guards } from '../frame/guards.ts';
import type { RateBound } from '../frame/rate-bound.ts';

/** Credentials and desired state that a device asks for by itself. */
export interface DeviceApiOptions {
  readonly guards: Guards;
  readonly devices: DeviceCredentials;
  readonly desired: DesiredBook;
  readonly welcome: Welcome;
  readonly bodies: BodyReader;
  /** By device: each of these may cost a writing here and at the broker. */
  readonly attempts: RateBound;
}

/** The part below `/api/v1/devices/self`. */
export function createDeviceApi(options: DeviceApiOptions): Api {
  const { devices, desired, welcome, bodies, attempts } = options;
  const app: Api = new OpenAPIHono();
  const guard = options.guards.device;
  const tag = 'for devices';

  mount(
    app,
    {
      ...{ method: 'post', path: '/credential', tag, guard, summary: 'Swaps the credential for a new one' },
      body: { 'application/json': renewRequest },
      responses: { 200: json('As at enrolment', enrollResponse) },
    },
    async (c) => {
      const { id, secret } = c.get('device');
      attempts.take(id);
      const request = await bodies.json(c.req.raw, renewRequest);
      return c.json(welcome(c, id, await devices.renew(id, secret, request.secret)));
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/desired', tag, guard, summary: 'Says what the hub wants of the device' },
      responses: { 200: json('As on the device’s topic `desired`', desiredSchema) },
    },
    (c) => {
      const wanted = desired.of(c.get('device').id);
      if (!wanted) throw new AppError('NOT_FOUND', 'this device has not reported what it has yet');
      return c.json(wanted);
    },
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/link', tag, guard },
      summary: 'Gives the device its account back at a broker that has forgotten it',
      responses: { 200: json('As at enrolment', enrollResponse) },
    },
    async (c) => {
      const { id, secret } = c.get('device');
      attempts.take(id);
      return c.json(welcome(c, id, await devices.link(id, secret)));
    },
  );
  // Nothing below it is a device of that name, to whom another method would go.
  app.all('/:address', (c) => c.notFound());
  return app;
}
