/** The devices, what each should run, and the tokens by which they enrol. */
import type { Context } from 'hono';
import {
  type DeviceInstall,
  deviceLabelsBody,
  deviceList,
  devicePins,
  deviceRecord,
  enrollmentTokenAnswer,
  enrollmentTokenList,
  enrollmentTokenRequest,
} from '../../../shared/contract/admin.ts';
import { joinEnrolToken } from '../../../shared/contract/enrol-token.ts';
import { enrollRequest, enrollResponse } from '../../../shared/contract/messages.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { remoteAddress } from '../../../shared/runtime/remote-address.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { DeviceAdmin, HubAuthority, LabelBook, PinBook } from '../../ports.ts';
import { type Api, deviceOf, json, mount } from '../frame/endpoint.ts';
import { ETAG_HEADER, etagOf, ifMatch, ifMatchHeader } from '../frame/etag.ts';
import type { HubEnv, Welcome } from '../frame/face.ts';
import { type Guards, OPEN } from '../frame/guards.ts';
import { IDEMPOTENCY_HEADER, type IdempotentAnswers } from '../frame/idempotency.ts';
import { sliceOf } from '../frame/paging.ts';
import type { RateBound } from '../frame/rate-bound.ts';

/** Device records and pins, and the bounds on enrolment. */
export interface FleetApiOptions {
  readonly guards: Guards;
  readonly authority: HubAuthority | undefined;
  readonly devices: DeviceAdmin;
  readonly pins: PinBook;
  readonly labels: LabelBook;
  /** Answer to a device that gets its credential. */
  readonly welcome: Welcome;
  readonly bodies: BodyReader;
  /** By address: a token may be guessed so often. */
  readonly enrollments: RateBound;
  readonly answers: IdempotentAnswers;
  /** How a device comes to Outrider from here. */
  readonly deviceInstall: (c: Context<HubEnv>) => Promise<DeviceInstall>;
}

/** Puts `/devices`, their pins and labels, `/enrollment-tokens` and `/enroll` there. */
export function mountFleet(app: Api, options: FleetApiOptions): void {
  mountDevices(app, options);
  mountPins(app, options);
  mountLabels(app, options);
  mountTokens(app, options);
}

function mountDevices(app: Api, { guards, devices }: FleetApiOptions): void {
  const tag = 'devices';
  mount(
    app,
    {
      ...{ method: 'get', path: '/devices', tag, summary: 'Lists the devices', isPaged: true },
      guard: guards.reader('admin'),
      responses: { 200: json('The devices, by id', deviceList) },
    },
    (c) => {
      const { items, next } = sliceOf(devices.list(), ({ id }) => id, c.get('paging'));
      return c.json({ devices: items, next });
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/devices/{id}', tag, summary: 'Shows a device' },
      guard: guards.reader('admin'),
      responses: { 200: json('The device', deviceRecord) },
    },
    (c) => {
      const id = deviceOf(c);
      const found = devices.get(id);
      if (!found) throw new AppError('DEVICE_UNKNOWN', 'there is no device of this name');
      return c.json(found);
    },
  );
  mount(
    app,
    {
      ...{ method: 'delete', path: '/devices/{id}', tag, summary: 'Revokes a device: it is cut off at once' },
      guard: guards.key('admin'),
      responses: { 204: 'Revoked' },
    },
    async (c) => {
      await devices.revoke(deviceOf(c));
      return c.body(null, 204);
    },
  );
}

function mountPins(app: Api, { guards, pins, bodies }: FleetApiOptions): void {
  const tag = 'devices';
  const show = (c: Context<HubEnv>): Response => {
    const found = pins.pinsOf(deviceOf(c));
    c.header('etag', etagOf(found));
    return c.json({ pins: found });
  };
  mount(
    app,
    {
      ...{ method: 'get', path: '/devices/{id}/desired', tag },
      summary: 'Shows which versions a device should run instead of what its models deploy',
      guard: guards.key('admin'),
      responses: {
        200: { ...json('The pinned versions, with their ETag', devicePins), headers: ETAG_HEADER },
      },
    },
    show,
  );
  mount(
    app,
    {
      ...{ method: 'put', path: '/devices/{id}/desired', tag },
      summary: 'Replaces the pinned versions of a device',
      guard: guards.key('admin'),
      headers: ifMatchHeader('the pins as they were read'),
      body: { 'application/json': devicePins },
      responses: {
        200: { ...json('The pinned versions as they are now', devicePins), headers: ETAG_HEADER },
      },
    },
    async (c) => {
      const id = deviceOf(c);
      const isRead = ifMatch(c);
      const wanted = await bodies.json(c.req.raw, devicePins);
      await pins.pin(id, wanted.pins, (now) => isRead(etagOf(now)));
      return show(c);
    },
  );
}

function mountLabels(app: Api, { guards, labels, bodies }: FleetApiOptions): void {
  const tag = 'devices';
  const show = (c: Context<HubEnv>): Response => {
    const found = labels.labelsOf(deviceOf(c));
    c.header('etag', etagOf(found));
    return c.json({ labels: found });
  };
  mount(
    app,
    {
      ...{ method: 'get', path: '/devices/{id}/labels', tag },
      summary: 'Shows the labels that the operator has given a device',
      guard: guards.key('admin'),
      responses: { 200: { ...json('The labels, with their ETag', deviceLabelsBody), headers: ETAG_HEADER } },
    },
    show,
  );
  mount(
    app,
    {
      ...{ method: 'put', path: '/devices/{id}/labels', tag },
      summary: 'Replaces the labels that the operator has given a device; those of its configuration stay',
      guard: guards.key('admin'),
      headers: ifMatchHeader('the labels as they were read'),
      body: { 'application/json': deviceLabelsBody },
      responses: { 200: { ...json('The labels as they are now', deviceLabelsBody), headers: ETAG_HEADER } },
    },
    async (c) => {
      const isRead = ifMatch(c);
      const wanted = await bodies.json(c.req.raw, deviceLabelsBody);
      await labels.label(deviceOf(c), wanted.labels, (now) => isRead(etagOf(now)));
      return show(c);
    },
  );
}

function mountTokens(app: Api, options: FleetApiOptions): void {
  const { guards, devices, bodies, answers } = options;
  const tag = 'enrolment';
  mount(
    app,
    {
      ...{ method: 'get', path: '/enrollment-tokens', tag, isPaged: true },
      summary: 'Lists the enrolment tokens that are still good, without their secrets',
      guard: guards.key('admin'),
      responses: { 200: json('The tokens', enrollmentTokenList) },
    },
    (c) => {
      const { items, next } = sliceOf(devices.listTokens(), ({ id }) => id, c.get('paging'));
      return c.json({ tokens: items, next });
    },
  );
  mount(
    app,
    {
      ...{
        method: 'post',
        path: '/enrollment-tokens',
        tag,
        summary: 'Makes a token that lets a device enrol',
      },
      guard: guards.key('admin'),
      headers: IDEMPOTENCY_HEADER,
      body: { 'application/json': enrollmentTokenRequest },
      responses: {
        201: json('The token, shown this once, and how a device is installed', enrollmentTokenAnswer),
      },
    },
    async (c) => {
      const request = await bodies.json(c.req.raw, enrollmentTokenRequest);
      return answers.once(c, request, async () => {
        const made = await devices.createToken(request);
        const token = joinEnrolToken({ secret: made.token, fingerprint: options.authority?.fingerprint });
        return { status: 201, body: { ...made, token, install: await options.deviceInstall(c) } };
      });
    },
  );
  mount(
    app,
    {
      ...{ method: 'delete', path: '/enrollment-tokens/{id}', tag, summary: 'Takes a token back' },
      guard: guards.key('admin'),
      responses: { 204: 'Taken back' },
    },
    async (c) => {
      await devices.revokeToken(c.req.param('id') ?? '');
      return c.body(null, 204);
    },
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/enroll', tag },
      summary: 'Swaps a token for the credential that the device has made; the token is the credential here',
      guard: OPEN,
      body: { 'application/json': enrollRequest },
      responses: { 201: json('Enrolled', enrollResponse) },
    },
    async (c) => {
      options.enrollments.take(remoteAddress(c.env));
      const request = await bodies.json(c.req.raw, enrollRequest);
      const grant = await devices.enroll(request);
      return c.json(options.welcome(c, request.deviceId, grant), 201);
    },
  );
}
