import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPublic, publicLookup, refuseLiteral } from '../../../../../agent/sink/webhook/address.ts';
import { post } from '../../../../../agent/sink/webhook/post.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

const PRIVATE = [
  ...['10.0.0.2', '172.16.9.1', '192.168.1.1', '127.0.0.1', '127.9.9.9', '169.254.169.254', '0.0.0.0'],
  ...['100.64.0.1', '224.0.0.1', '255.255.255.255', '198.18.0.1', '192.0.2.1', '240.0.0.1'],
  ...['::1', '::', 'fe80::1', 'fd00::1', 'fc00::1', 'ff02::1', '::ffff:10.0.0.2', '::ffff:a9fe:a9fe'],
  // IPv4 in other clothes: NAT64, 6to4, Teredo.
  ...['64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1', '2001:0:a9fe::1', 'no address'],
];

test('only addresses of the public internet are public', () => {
  for (const address of PRIVATE) assert.equal(isPublic(address), false, address);
  for (const address of ['1.1.1.1', '93.184.216.34', '2606:4700:4700::1111', '::ffff:1.1.1.1'])
    assert.equal(isPublic(address), true, address);
});

test('an address that is written out is refused, however it is written', () => {
  for (const host of [
    '127.0.0.1',
    '2130706433',
    '0x7f.1',
    '017700000001',
    '[::1]',
    '[::ffff:169.254.169.254]',
  ]) {
    const { hostname } = new URL(`http://${host}/`);
    assert.throws(
      () => refuseLiteral(hostname),
      (error) => isAppError(error, 'ADDRESS_REFUSED'),
      host,
    );
  }
  refuseLiteral('1.1.1.1');
  refuseLiteral('example.com');
});

test('a name is refused by what it resolves to, in the look-up that the connection uses', async () => {
  for (const all of [true, false]) {
    const error = await new Promise((resolve) => publicLookup('localhost', { all }, resolve));
    assert.ok(isAppError(error, 'ADDRESS_REFUSED'), String(error));
  }
  const place = { url: 'https://localhost:9/x', allowPrivate: false };
  await assert.rejects(post(place, {}, Buffer.from('{}'), new AbortController().signal), (error) => {
    assert.ok(isAppError(error, 'ADDRESS_REFUSED'), String(error));
    assert.match(error.message, /^localhost is (127\.0\.0\.1|::1), which is not a public address$/);
    return true;
  });
});
