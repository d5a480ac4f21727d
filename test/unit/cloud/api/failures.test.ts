import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutPaths } from '../../../../shared/runtime/disk-paths.ts';
import { AppError, ERROR_CODES } from '../../../../shared/runtime/errors.ts';
import { asker, startHubApi } from '../../../support/hub-api.ts';

test('no failure tells a caller where something lies on the hub, whatever its code and its message', async (t) => {
  const hub = await startHubApi();
  t.after(() => hub.stop());
  const ask = asker(hub);
  for (const code of ERROR_CODES) {
    hub.answer = () => {
      throw new AppError(
        code,
        'no space to write /srv/outrider/data/hub/usage/2026-11.ndjson: EIO, /var/x/y',
      );
    };
    for (const [path, json] of [
      ['/hf/models/texts', { inputs: 'a' }],
      ['/v2/models/texts/infer', { inputs: [{ name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] }] }],
    ] as const) {
      const text = await (await ask('POST', path, { json })).text();
      assert.doesNotMatch(text, /srv|outrider\/data|\/var/, `${code}: ${text}`);
    }
  }
});

test('of a path the last name stays, and addresses stay as they are', () => {
  for (const [message, told] of [
    ['/data/models/words/outrider.json: schema: invalid', 'outrider.json: schema: invalid'],
    ['cannot read “/a/b/c.txt”', 'cannot read “c.txt”'],
    ['words/config.json is missing', 'words/config.json is missing'],
    ['see /hf/models/x and https://example.com/a/b', 'see /hf/models/x and https://example.com/a/b'],
    ['/models/texts', 'texts'],
  ] as const)
    assert.equal(withoutPaths(message), told);
});
