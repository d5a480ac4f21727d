/** `outrider keys status|sign|import`: how signing stands, and a change on its way from holder to holder. */
import { type SigningRoleStatus, type SigningStatus, signingStatus } from '../../shared/contract/signing.ts';
import {
  describeChange,
  mergeChanges,
  missingSignatures,
  signChange,
} from '../../shared/release/tuf/change.ts';
import { colors } from '../../shared/runtime/colors.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { print, spanText, table } from '../output.ts';
import { type SignerOptions, signersOf } from '../signing/signers.ts';
import { hubKeys, missingText, readChange, submit, submittedText, writeChange } from '../signing/submit.ts';

type Options = HubOptions & { readonly json?: boolean };

/** Every role: its keys and where they are, until when its signature is good, what to do. */
export async function signingKeys(options: Options): Promise<void> {
  const status = await (await HubClient.find(options)).get('/api/v1/tuf/status', signingStatus);
  print(options.json, status, () => statusText(status));
}

function statusText({ isDevelopment, roles, toList, toDelist }: SigningStatus): string {
  const nowAtMs = Date.now();
  const rows = roles.map((one) => [
    one.role,
    `${one.threshold} of ${one.keys.length}`,
    one.keys
      .map(({ id, kind, isHere }) => `${id.slice(0, 12)} ${kind}${isHere ? ', on the hub' : ''}`)
      .join('\n'),
    one.renewsItself ? 'the hub, by itself' : 'whoever holds its keys',
    endText(one, nowAtMs),
    one.models?.join(', ') ?? '',
  ]);
  const todos = roles.flatMap(({ role, todo }) => (todo === null ? [] : [`${role}: ${todo}`]));
  const named = (all: SigningStatus['toList']): string =>
    all.map(({ model, version }) => `${model}@${version}`).join(', ');
  return [
    table(['role', 'keys', 'which', 'signs', 'good for', 'models'], rows),
    ...(isDevelopment
      ? [
          colors.yellow(
            'The hub holds a key of root or targets: whoever takes it over can put any model on every device (outrider keys init).',
          ),
        ]
      : []),
    ...todos,
    ...(toList.length > 0
      ? [`To be listed: ${named(toList)} (outrider models push FOLDER --signing-key FILE)`]
      : []),
    ...(toDelist.length > 0
      ? [`Removed, and listed still: ${named(toDelist)} (outrider models rm NAME@VERSION --signing-key FILE)`]
      : []),
  ].join('\n');
}

function endText({ expiresAtMs, level }: SigningRoleStatus, nowAtMs: number): string {
  if (expiresAtMs === null) return 'nothing signed yet';
  const text = level === 'expired' ? 'ended' : spanText(expiresAtMs - nowAtMs);
  if (level === 'ok') return text;
  return level === 'soon' ? colors.yellow(text) : colors.red(text);
}

/** Signs a change where the key is; needs no hub and no network. */
export async function signChangeFile(
  file: string,
  options: SignerOptions & { readonly json?: boolean; readonly out?: string },
): Promise<void> {
  const signers = await signersOf(options);
  if (signers.length === 0)
    throw new AppError(
      'USAGE',
      'say with which key: --signing-key FILE, or --signing-command and --public-key',
    );
  const change = await readChange(file);
  const done = await signChange(change, signers);
  for (const [id, files] of done)
    if (files.length === 0)
      throw new AppError(
        'UPDATE_UNTRUSTED',
        `key ${id.slice(0, 12)} signs nothing of this change: its roles name other keys`,
      );
  const out = options.out ?? file;
  await writeChange(out, change);
  const missing = missingSignatures(change);
  const signed = Object.fromEntries(done);
  print(
    options.json,
    { file: out, what: change.what, changes: describeChange(change), signed, missing },
    () =>
      [
        `${change.what}:`,
        ...describeChange(change).map((line) => `  ${line}`),
        ...[...done].map(([id, files]) => `Signed with ${id.slice(0, 12)}: ${files.join(', ')}`),
        ...(missing.length > 0
          ? ['Still to sign (what the hub holds the key of, it signs itself):', ...missing.map(missingText)]
          : ['Enough have signed.']),
        `It lies in ${out}; next: outrider keys import ${out}`,
      ].join('\n'),
  );
}

/** Puts copies of a change together and brings them to the hub. */
export async function importChange(files: readonly string[], options: Options): Promise<void> {
  const [first, ...others] = await Promise.all(files.map(readChange));
  if (!first) throw new AppError('USAGE', 'say which files');
  const change = others.reduce(mergeChanges, first);
  const hub = await HubClient.find(options);
  const status = await hub.get('/api/v1/tuf/status', signingStatus);
  const done = await submit(hub, change, {
    signers: [],
    // A key that waits on the hub cannot be told from one that is elsewhere: the hub says what is missing.
    heldByHub: new Set([...hubKeys(status), ...missingSignatures(change).flatMap(({ keys }) => keys)]),
    out: files[0] ?? '',
  });
  print(options.json, done, () => submittedText(done, change.what));
}
