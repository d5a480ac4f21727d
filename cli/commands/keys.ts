/** `outrider keys init|rotate|renew|delegate|undelegate`: who signs updates, and the steps by which others take over. */
import { join } from 'node:path';
import { nextSigningKey } from '../../shared/contract/signing.ts';
import type { Change } from '../../shared/release/tuf/change.ts';
import { nextRoot, type Signers, targetsAgain } from '../../shared/release/tuf/change-making.ts';
import { type Delegation, delegationsOf, modelPattern } from '../../shared/release/tuf/delegations.ts';
import { publicKeyOf } from '../../shared/release/tuf/public-keys.ts';
import { signersOf as keysOfRole, ROLES, type Role, type Signed } from '../../shared/release/tuf/roles.ts';
import type { Signer } from '../../shared/release/tuf/signing-keys.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { print } from '../output.ts';
import { keysIn, makeKeyFiles, type NamedKey, type SignerOptions, signersOf } from '../signing/signers.ts';
import {
  hubKeys,
  type InForce,
  readDelegated,
  readInForce,
  type Submitted,
  submit,
  submittedText,
} from '../signing/submit.ts';

type Options = HubOptions & SignerOptions & { readonly json?: boolean; readonly out?: string };

const CHANGE_FILE = 'outrider-change.json';
const MAX_MADE = 16;

interface InitOptions extends Options {
  readonly rootKeys: string;
  readonly threshold: string;
  readonly rootKey?: readonly string[];
  readonly targetsKeys: string;
  readonly targetsThreshold: string;
  readonly targetsKey?: readonly string[];
  readonly to: string;
}

/** Takes root and targets off the hub: keys of people, in files or on tokens, in the place of those that the hub has made. */
export async function initKeys(options: InitOptions): Promise<void> {
  const hub = await HubClient.find(options);
  const now = await readInForce(hub);
  const [root] = now.status.roles;
  if (!root?.keys.some(({ isHere }) => isHere))
    throw new AppError(
      'CONFLICT',
      'the root key of this hub has been moved off it already: outrider keys rotate root changes who holds it',
    );
  const signers = await signersOf(options);
  const rootKeys = await given('root', options.rootKey, options.rootKeys, options.to);
  const stays = options.targetsKey === undefined && count('--targets-keys', options.targetsKeys) === 0;
  const targetsKeys = stays
    ? []
    : await given('targets', options.targetsKey, options.targetsKeys, options.to);
  const changes: Partial<Record<Role, Signers>> = {
    root: { keys: publicOf(rootKeys), threshold: count('--threshold', options.threshold) },
    ...(!stays && {
      targets: {
        keys: publicOf(targetsKeys),
        threshold: count('--targets-threshold', options.targetsThreshold),
      },
    }),
  };
  const nowAtMs = systemClock.nowAtMs();
  const change: Change = {
    what: 'outrider keys init: root and targets get keys off the hub',
    before: beforeOf(now),
    root: nextRoot(now.root, changes, nowAtMs),
    ...(!stays && { targets: targetsAgain(now.targets, nowAtMs) }),
    delegated: new Map(),
  };
  const done = await submit(hub, change, {
    signers: [...signers, ...signersIn(rootKeys), ...signersIn(targetsKeys)],
    heldByHub: hubKeys(now.status),
    out: options.out ?? join(options.to, CHANGE_FILE),
  });
  const files = [...rootKeys, ...targetsKeys].map(({ path, publicKey }) => ({ path, id: publicKey.keyID }));
  print(options.json, { ...done, files }, () =>
    [
      submittedText(done, 'Keys of this hub'),
      ...files.map(({ path, id }) => `  ${id.slice(0, 12)}  ${path}`),
      'Give each root key to another person, offline, and keep a copy of each apart: with fewer than the threshold of them left nobody can ever change a key again.',
    ].join('\n'),
  );
}

interface RotateOptions extends Options {
  readonly add?: readonly string[];
  readonly make?: string;
  readonly remove?: readonly string[];
  readonly keep?: boolean;
  readonly threshold?: string;
  readonly to: string;
  readonly compromised?: boolean;
}

/** Other keys for a role. A key that was lost to somebody takes the online ones along, so that devices forget what it has signed. */
export async function rotateKeys(role: string, options: RotateOptions): Promise<void> {
  const hub = await HubClient.find(options);
  const now = await readInForce(hub);
  const signers = await signersOf(options);
  const top = ROLES.find((one) => one === role);
  const delegation = delegationsOf(now.targets).find((one) => one.role === role);
  if (!top && !delegation) throw new AppError('NOT_FOUND', `there is no role ${role}: outrider keys status`);
  const held = hubKeys(now.status);
  const before: Signers = top ? keysOfRole(now.root, top) : (delegation as Delegation);
  const made = await changedKeys(hub, role, { before, now, options });
  const after = { keys: made.keys, threshold: made.threshold };
  const nowAtMs = systemClock.nowAtMs();
  const online: Partial<Record<Role, Signers>> = {};
  if (options.compromised)
    for (const one of ['snapshot', 'timestamp'] as const)
      if (one !== role) online[one] = { keys: [await nextKey(hub, one, held)], threshold: 1 };
  const isRootChanged = top !== undefined || options.compromised === true;
  const change: Change = {
    what: `outrider keys rotate ${role}`,
    before: beforeOf(now),
    ...(isRootChanged && {
      root: nextRoot(now.root, { ...online, ...(top && { [top]: after }) }, nowAtMs),
    }),
    ...((top === 'targets' || !top) && {
      targets: targetsAgain(now.targets, nowAtMs, (all) =>
        all.map((one) => (one.role === role ? { ...one, ...after } : one)),
      ),
    }),
    delegated: new Map(),
  };
  const all = [...signers, ...signersIn(made.files)];
  const again = top ? undefined : await delegatedAgain(hub, now, role, { after, signers: all, nowAtMs });
  const done = await submit(hub, again ? { ...change, ...again } : change, {
    signers: all,
    heldByHub: new Set([...held, ...made.byHub]),
    out: options.out ?? CHANGE_FILE,
  });
  const files = made.files.map(({ path, publicKey }) => ({ path, id: publicKey.keyID }));
  print(options.json, { ...done, files }, () =>
    [
      submittedText(done, `Keys of ${role}`),
      ...files.map(({ path, id }) => `  ${id.slice(0, 12)}  ${path}`),
    ].join('\n'),
  );
}

/** The keys that a role is to have. Without `--remove` and `--keep` the new ones take the place of all. */
async function changedKeys(
  hub: HubClient,
  role: string,
  of: { readonly before: Signers; readonly now: InForce; readonly options: RotateOptions },
): Promise<Signers & { readonly files: readonly NamedKey[]; readonly byHub: readonly string[] }> {
  const { before, options } = of;
  const { add = [], remove = [], keep = false } = options;
  const held = hubKeys(of.now.status);
  const isHubs = before.keys.every(({ keyID }) => held.has(keyID));
  const makes = options.make === undefined ? 0 : count('--make', options.make);
  if (add.length + makes + remove.length === 0 && options.threshold === undefined) {
    if (!isHubs)
      throw new AppError(
        'USAGE',
        `the keys of ${role} are not on the hub: say --make N, --add FILE, --remove ID or --threshold N`,
      );
    const ids = new Set<string>();
    const key = await nextKey(hub, role as Role, ids);
    return { keys: [key], threshold: 1, files: [], byHub: [...ids] };
  }
  if (role === 'snapshot' || role === 'timestamp')
    throw new AppError('USAGE', `the hub signs ${role} by itself, and makes its next key: say nothing more`);
  const files = [...(await keysIn(add)), ...(await makeKeyFiles(options.to, role, makes))];
  const isGone = (id: string): boolean => remove.some((start) => id.startsWith(start.toLowerCase()));
  for (const start of remove)
    if (
      start.length < 6 ||
      before.keys.filter(({ keyID }) => keyID.startsWith(start.toLowerCase())).length !== 1
    )
      throw new AppError(
        'USAGE',
        `--remove ${start} names no key of ${role}, or several: outrider keys status`,
      );
  const staying = before.keys.filter(({ keyID }) =>
    remove.length > 0 ? !isGone(keyID) : keep || files.length === 0,
  );
  const keys = [...staying, ...publicOf(files)];
  const threshold =
    options.threshold === undefined
      ? Math.min(before.threshold, keys.length)
      : count('--threshold', options.threshold);
  return { keys, threshold, files, byHub: [] };
}

/** What a delegated role has listed goes on to count where one of its new keys is at hand to sign it; else its publisher renews it. */
async function delegatedAgain(
  hub: HubClient,
  now: InForce,
  role: string,
  of: { readonly after: Signers; readonly signers: readonly Signer[]; readonly nowAtMs: number },
): Promise<Pick<Change, 'delegated' | 'before'> | undefined> {
  const found = await readDelegated(hub, role);
  const isAtHand = of.signers.some(({ publicKey }) =>
    of.after.keys.some(({ keyID }) => keyID === publicKey.keyID),
  );
  if (!found || !isAtHand) return undefined;
  return {
    before: { ...beforeOf(now), delegatedEtags: { [role]: found.etag } },
    delegated: new Map([[role, targetsAgain(found.metadata, of.nowAtMs)]]),
  };
}

/** The same, signed again, good for as long as the first time. */
export async function renewRole(role: string, options: Options): Promise<void> {
  const hub = await HubClient.find(options);
  const now = await readInForce(hub);
  const signers = await signersOf(options);
  const nowAtMs = systemClock.nowAtMs();
  const what = `outrider keys renew ${role}`;
  let change: Change = { what, before: beforeOf(now), delegated: new Map() };
  if (role === 'root') change = { ...change, root: nextRoot(now.root, {}, nowAtMs) };
  else if (role === 'targets') change = { ...change, targets: targetsAgain(now.targets, nowAtMs) };
  else if (role === 'snapshot' || role === 'timestamp')
    throw new AppError('USAGE', `the hub signs ${role} again by itself`);
  else {
    const found = await lastOf(hub, role);
    change = {
      ...change,
      before: { ...change.before, ...(found.etag && { delegatedEtags: { [role]: found.etag } }) },
      delegated: new Map([[role, targetsAgain(found.metadata, nowAtMs)]]),
    };
  }
  const out = options.out ?? CHANGE_FILE;
  tell(options, await submit(hub, change, { signers, heldByHub: hubKeys(now.status), out }), role);
}

/** What a role has signed last, with other keys than it has now, too. @throws NOT_FOUND */
async function lastOf(
  hub: HubClient,
  role: string,
): Promise<{ readonly metadata: Signed['targets']; readonly etag?: string }> {
  const found = await readDelegated(hub, role);
  if (found) return found;
  throw new AppError('NOT_FOUND', `${role} has signed nothing that is in force: push its models again`);
}

interface DelegateOptions extends Options {
  readonly models: readonly string[];
  readonly publisherKey: readonly string[];
  readonly threshold: string;
}

/** Lets somebody list the models of some names with a key of their own. */
export async function delegateModels(role: string, options: DelegateOptions): Promise<void> {
  const keys = publicOf(await keysIn(options.publisherKey));
  const models = options.models.map(modelPattern);
  const own: Delegation = { role, models, keys, threshold: count('--threshold', options.threshold) };
  await changeDelegations(`outrider keys delegate ${role}`, role, options, (all) =>
    all.some((one) => one.role === role) ? all.map((one) => (one.role === role ? own : one)) : [...all, own],
  );
}

/** Takes that away again; what was listed that way is listed no more. */
export async function undelegateModels(role: string, options: Options): Promise<void> {
  await changeDelegations(`outrider keys undelegate ${role}`, role, options, (all) => {
    if (!all.some((one) => one.role === role))
      throw new AppError('NOT_FOUND', `there is no delegation ${role}: outrider keys status`);
    return all.filter((one) => one.role !== role);
  });
}

async function changeDelegations(
  what: string,
  role: string,
  options: Options,
  edit: (all: Delegation[]) => readonly Delegation[],
): Promise<void> {
  const hub = await HubClient.find(options);
  const now = await readInForce(hub);
  const change: Change = {
    what,
    before: beforeOf(now),
    targets: targetsAgain(now.targets, systemClock.nowAtMs(), edit),
    delegated: new Map(),
  };
  const of = {
    signers: await signersOf(options),
    heldByHub: hubKeys(now.status),
    out: options.out ?? CHANGE_FILE,
  };
  tell(options, await submit(hub, change, of), role);
}

const tell = (options: Options, done: Submitted, role: string): void =>
  print(options.json, done, () => submittedText(done, `Signing of ${role}`));

const beforeOf = ({ root, targets, targetsEtag }: InForce): Change['before'] => ({
  root,
  targets,
  targetsEtag,
});

const publicOf = (keys: readonly NamedKey[]): Signer['publicKey'][] => keys.map(({ publicKey }) => publicKey);

const signersIn = (keys: readonly NamedKey[]): Signer[] => keys.flatMap(({ signer }) => signer ?? []);

/** Named by files, or made. */
const given = async (
  role: string,
  files: readonly string[] | undefined,
  number: string,
  to: string,
): Promise<NamedKey[]> =>
  files === undefined ? makeKeyFiles(to, role, count(`--${role}-keys`, number)) : keysIn(files);

async function nextKey(hub: HubClient, role: Role, ids: Set<string>): Promise<Signer['publicKey']> {
  const made = await hub.post(`/api/v1/tuf/keys/${role}`, {}, nextSigningKey);
  ids.add(made.id);
  return publicKeyOf(made.publicKey, `the hub’s next key of ${role}`);
}

/** @throws USAGE */
function count(flag: string, text: string): number {
  const number = Number(text);
  if (!/^\d{1,3}$/.test(text) || number > MAX_MADE)
    throw new AppError('USAGE', `${flag} is a whole number, at most ${MAX_MADE}`);
  return number;
}
