import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { targetPath } from '../../../../../shared/release/release.ts';
import { expiresAtMs, parseMetadata } from '../../../../../shared/release/tuf/roles.ts';
import { signTargets } from '../../../../../shared/release/tuf/sign-targets.ts';
import { readSigningKey, type SigningKey } from '../../../../../shared/release/tuf/signing-keys.ts';
import { type ErrorCode, isAppError } from '../../../../../shared/runtime/errors.ts';
import { releaseOf, SignedHub } from '../../../../support/signed-hub.ts';

const withCode =
  (code: ErrorCode, message = /./) =>
  (error: unknown) =>
    isAppError(error, code) && message.test(error.message);
const YEAR_MS = 365 * 86_400_000;

describe('who keeps the key of targets', () => {
  let hub: SignedHub;
  let key: SigningKey;
  beforeEach(async () => {
    hub = await SignedHub.open();
    key = await hub.key('targets');
  });
  afterEach(() => hub.close());

  const sign = (version: string, by = key, body = hub.repository.targets().body) =>
    signTargets(body, releaseOf('eyes', version), { key: by, clock: hub.clock });

  it('signs for a version beside those that are listed, for a year, and hub and device take it', async () => {
    await hub.repository.add([releaseOf('eyes', '1')]);
    const body = sign('2') ?? assert.fail();
    const { signed, signatures } = parseMetadata('targets', body);
    // The hub may have been restored, and devices may have seen more: the seconds since 1970.
    assert.ok(Math.abs(signed.version - Date.now() / 1_000) < 60, String(signed.version));
    assert.deepEqual(Object.keys(signatures), [key.id]);
    const leftMs = expiresAtMs(parseMetadata('targets', body)) - Date.now();
    assert.ok(Math.abs(leftMs - YEAR_MS) < 60_000, String(leftMs));
    await hub.repository.putTargets(body, hub.repository.targets().etag);
    assert.deepEqual(hub.repository.release('eyes', '2'), releaseOf('eyes', '2'));
    assert.deepEqual(hub.repository.release('eyes', '1'), releaseOf('eyes', '1'));
    assert.equal(hub.repository.release('eyes', '3'), undefined);
    await hub.device().refresh();
    assert.equal(sign('2'), undefined, 'it is listed');
  });

  it('signs nothing that it has not signed before, whatever a hub says', async () => {
    const untrusted = withCode('UPDATE_UNTRUSTED');
    const other = await hub.key('snapshot');
    assert.throws(() => sign('1', other), untrusted);
    const slipped = JSON.parse(Buffer.from(hub.repository.targets().body).toString());
    const path = targetPath({ name: 'eyes', version: '9' }, 'onnx/model.onnx');
    slipped.signed.targets[path] = { length: 1, hashes: { sha256: 'e'.repeat(64) } };
    assert.throws(() => sign('1', key, Buffer.from(JSON.stringify(slipped))), untrusted);
    assert.throws(() => sign('1', key, Buffer.from('{"signed":{}}')), untrusted);
  });

  it('refuses to sign for other content under a number that is taken', async () => {
    await hub.repository.add([releaseOf('eyes', '1')]);
    const release = releaseOf('eyes', '1');
    const other = { ...release, ref: { ...release.ref, digest: 'f'.repeat(64) } };
    assert.throws(
      () => signTargets(hub.repository.targets().body, other, { key, clock: hub.clock }),
      withCode('CONFLICT', /listed already, with other content/),
    );
  });

  it('is told what is wrong with a file that is no such key', async () => {
    const written = async (name: string, text: string): Promise<string> => {
      await writeFile(join(hub.root, name), text);
      return join(hub.root, name);
    };
    const ed25519 = generateKeyPairSync('ed25519');
    const pem = (cipher = {}) =>
      ed25519.privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher }).toString();
    const spki = ed25519.publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const ecPem = ec.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const locked = pem({ cipher: 'aes-256-cbc', passphrase: 'secret' });
    const invalid = (message: RegExp) => withCode('CONFIG_INVALID', message);
    assert.ok(await readSigningKey(await written('good.pem', pem())));
    await assert.rejects(
      readSigningKey(join(hub.root, 'none.pem')),
      withCode('FILE_UNREADABLE', /none\.pem/),
    );
    for (const [name, text] of Object.entries({ text: 'no key', public: spki, curve: ecPem }))
      await assert.rejects(readSigningKey(await written(name, text)), invalid(/is no private ed25519 key/));
    await assert.rejects(readSigningKey(await written('locked', locked)), invalid(/needs a passphrase/));
  });
});
