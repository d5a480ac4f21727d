/** Keys that never leave their token: a command signs, and only what its public key verifies counts. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ExternalSigner } from '../../../cli/signing/external-signer.ts';
import { changeJson } from '../../../shared/release/tuf/change.ts';
import { nextRoot, targetsAgain } from '../../../shared/release/tuf/change-making.ts';
import { parseMetadata } from '../../../shared/release/tuf/roles.ts';
import { listing, signedBy, targetsToSign } from '../../../shared/release/tuf/sign-targets.ts';
import { SigningKey } from '../../../shared/release/tuf/signing-keys.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { releaseOf, SignedHub } from '../../support/signed-hub.ts';

const withCode = (code: ErrorCode, text: RegExp) => (error: unknown) =>
  isAppError(error, code) && text.test(error.message);

/** Signs as a token would, in the form that it is told: raw or DER, as bytes, hex or base64. */
const TOKEN = `
import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
const [key, form, text] = process.argv.slice(2);
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const privateKey = createPrivateKey({ key: readFileSync(key), passphrase: 'touch' });
const made = sign(privateKey.asymmetricKeyType === 'ec' ? 'sha256' : null, Buffer.concat(chunks), {
  key: privateKey, dsaEncoding: form === 'raw' ? 'ieee-p1363' : 'der' });
process.stdout.write(text === 'bytes' ? made : made.toString(text) + '\\n');
`;

async function setUp(t: TestContext, kind: 'ed25519' | 'ec') {
  const folder = await temporaryFolder(t);
  const pair =
    kind === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const key = join(folder, 'token.pem');
  // With a passphrase: not even the test could read it as a file.
  await writeFile(
    key,
    pair.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'touch' }),
  );
  await writeFile(join(folder, 'token.mjs'), TOKEN);
  const pem = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const command = (form = 'der', text = 'bytes') =>
    `"${process.execPath}" "${join(folder, 'token.mjs')}" "${key}" ${form} ${text}`;
  return { folder, pem, command };
}

for (const kind of ['ed25519', 'ec'] as const)
  test(`a key of the kind ${kind} on a token signs targets, and devices take what it lists`, async (t) => {
    const { pem, command } = await setUp(t, kind);
    const hub = await SignedHub.open();
    t.after(() => hub.close());
    const device = hub.device();
    await device.refresh();
    const signer = new ExternalSigner(command(), pem);
    const before = parseMetadata('root', hub.repository.root().body);
    const targets = targetsAgain(parseMetadata('targets', hub.repository.targets().body), Date.now());
    await signer.sign(targets);
    const root = nextRoot(before, { targets: { keys: [signer.publicKey], threshold: 1 } }, Date.now());
    const { etag } = hub.repository.targets();
    await hub.repository.apply(
      changeJson({
        what: 'a token',
        before: { root: before, targetsEtag: etag },
        root,
        targets,
        delegated: new Map(),
      }),
    );
    assert.equal(hub.repository.canList, false);
    for (const [number, form, text] of [
      ['1', 'der', 'bytes'],
      ['2', 'raw', 'bytes'],
      ['3', 'der', 'hex'],
      ['4', 'raw', 'base64'],
    ] as const) {
      const signers = [new ExternalSigner(command(form, text), pem)];
      const now = hub.repository.targets();
      const next = targetsToSign(now.body, listing(releaseOf('eyes', number)), { signers, clock: hub.clock });
      await hub.repository.putTargets(await signedBy(next ?? assert.fail(), signers), now.etag);
      await device.refresh();
      assert.ok(device.release('eyes', number), `${form} ${text}`);
      hub.hubAheadMs += 2_000;
      await hub.reopen();
    }
  });

test('a command that fails, hangs, says nothing, too much or something else signs nothing', async (t) => {
  const { pem, folder } = await setUp(t, 'ed25519');
  const hub = await SignedHub.open();
  t.after(() => hub.close());
  const targets = parseMetadata('targets', hub.repository.targets().body);
  const before = JSON.stringify(targets.toJSON());
  for (const [command, text] of [
    ['exit 3', /exit code 3/],
    ['true', /gave 0 bytes/],
    ['head -c 64 /dev/zero', /no signature of key/],
    ['yes', /gave over 4096 bytes/],
    ['sleep 600 | cat', /did not end within/],
    ['/nowhere/pkcs11-sign', /exit code 127/],
  ] as const)
    await assert.rejects(
      new ExternalSigner(command, pem, 400).sign(targets),
      withCode('SIGNING_FAILED', text),
      command,
    );
  assert.equal(JSON.stringify(targets.toJSON()), before);
  assert.throws(
    () => new ExternalSigner('true', 'no PEM'),
    withCode('CONFIG_INVALID', /ed25519 or ECDSA P-256/),
  );
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const rsaPem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  assert.throws(() => new ExternalSigner('true', rsaPem), withCode('CONFIG_INVALID', /ECDSA P-256/));
  assert.throws(
    () => new SigningKey(rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
    withCode('DATA_CORRUPT', /neither/),
  );
  assert.ok(await readFile(join(folder, 'token.mjs')));
});
