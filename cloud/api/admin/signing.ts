/** The keys that sign updates, for those who hold some of them elsewhere: how they stand, and changes that they have signed. */
import {
  nextSigningKey,
  signingChange,
  signingRole,
  signingStatus,
} from '../../../shared/contract/signing.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { Publisher, SignedUpdates, SigningDesk } from '../../ports.ts';
import { type Api, anyBytes, json, mount } from '../frame/endpoint.ts';
import { ETAG_HEADER, ifMatch, ifMatchHeader } from '../frame/etag.ts';
import type { Guards } from '../frame/guards.ts';

/** Who signs, and who publishes what is signed. */
export interface SigningApiOptions {
  readonly guards: Guards;
  readonly signing: SigningDesk;
  readonly signedUpdates: SignedUpdates;
  readonly publisher: Publisher;
  readonly bodies: BodyReader;
}

/** Metadata of one publisher: tuf/roles.ts has the same bound. */
const MAX_DELEGATED_BYTES = 1_000_000;
/** Root, targets, and what delegated roles sign. */
const MAX_CHANGE_BYTES = 8 * 1024 * 1024;
const TAG = 'updates';
const metadata = (what: string) => ({
  200: { what, content: { 'application/json': anyBytes }, headers: ETAG_HEADER },
});

/** Puts `/tuf/status`, `/tuf/root`, `/tuf/keys`, `/tuf/changes` and `/tuf/delegations` there. */
export function mountSigning(app: Api, options: SigningApiOptions): void {
  const { guards, signing, signedUpdates, publisher, bodies } = options;
  const guard = guards.key('admin');
  mount(
    app,
    {
      ...{ method: 'get', path: '/tuf/status', tag: TAG, guard: guards.reader('admin') },
      summary: 'Says how the keys that sign updates stand: who signs, until when, what is to be done',
      responses: { 200: json('All roles, and what waits for a signature', signingStatus) },
    },
    (c) => c.json(signing.status()),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/tuf/root', tag: TAG, guard },
      summary: 'Reads the root metadata that is in force, with its ETag',
      responses: metadata('The metadata (TUF 1.0)'),
    },
    (c) => {
      const { etag, body } = signedUpdates.root();
      c.header('etag', etag);
      return c.body(Buffer.from(body), 200, { 'content-type': 'application/json' });
    },
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/tuf/keys/{role}', tag: TAG, guard },
      summary: 'Has the hub make a key that is to take the place of one that it holds',
      responses: { 200: json('Its public half; it signs once a root names it', nextSigningKey) },
    },
    async (c) => c.json(await signing.nextKey(roleIn(c.req.param('role')))),
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/tuf/changes', tag: TAG, guard },
      summary: 'Takes a change of keys, delegations or expiries once enough of their holders have signed it',
      body: { 'application/json': signingChange },
      responses: { 200: json('How all stand then', signingStatus) },
    },
    async (c) => {
      const change = await bodies.json(c.req.raw, signingChange, MAX_CHANGE_BYTES);
      await publisher.applyChange(change);
      return c.json(signing.status());
    },
  );
  mountDelegations(app, options);
}

const delegationPath = '/tuf/delegations/{role}';

function mountDelegations(app: Api, options: SigningApiOptions): void {
  const { guards, signedUpdates, publisher, bodies } = options;
  const guard = guards.key('admin');
  mount(
    app,
    {
      ...{ method: 'get', path: delegationPath, tag: TAG, guard },
      summary: 'Reads what a delegated role has signed, with its ETag',
      responses: metadata('The metadata (TUF 1.0)'),
    },
    (c) => {
      const found = signedUpdates.delegated(roleIn(c.req.param('role')));
      if (!found) throw new AppError('NOT_FOUND', 'this delegated role has signed nothing yet');
      c.header('etag', found.etag);
      return c.body(Buffer.from(found.body), 200, { 'content-type': 'application/json' });
    },
  );
  mount(
    app,
    {
      ...{ method: 'put', path: delegationPath, tag: TAG, guard },
      summary: 'Takes targets metadata that a delegated role has signed, and publishes what it lists',
      headers: ifMatchHeader('the metadata that it follows; * where there is none'),
      body: { 'application/json': anyBytes },
      responses: { 204: 'Taken; the ETag is the new one' },
    },
    async (c) => {
      const role = roleIn(c.req.param('role'));
      const isRead = ifMatch(c);
      const etag = await bodies.with(c.req.raw, MAX_DELEGATED_BYTES, async (body) => {
        const now = signedUpdates.delegated(role)?.etag ?? '*';
        if (!isRead(now)) throw new AppError('PRECONDITION_FAILED');
        return publisher.putDelegated(role, body, now);
      });
      c.header('etag', etag);
      return c.body(null, 204);
    },
  );
}

/** @throws NOT_FOUND */
function roleIn(text: string | undefined): string {
  const role = signingRole.safeParse(text);
  if (!role.success) throw new AppError('NOT_FOUND', 'there is no such role');
  return role.data;
}
