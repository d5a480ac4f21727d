/** Engines among the records, over the admin API: what goes together, what is shown, and where keys are. */
import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { backUp } from '../../../../cloud/backup/backup.ts';
import { modelRecord } from '../../../../shared/contract/admin.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { asker, startHubApi } from '../../../support/hub-api.ts';

const KEY = 'a-key-of-the-other-server';
const CHAT = { kind: 'openai', url: 'http://127.0.0.1:8000/', task: 'text-generation' };

async function start(t: TestContext) {
  const hub = await startHubApi({ models: { generator: 'text-generation', numbers: 'tensor' } });
  t.after(() => hub.stop());
  const ask = asker(hub);
  const put = (name: string, json: object): Promise<Response> =>
    ask('PUT', `/api/v1/models/${name}/engine`, { json });
  const folder = join(hub.brokerFolder, '..', 'hub');
  return { hub, ask, put, folder };
}

describe('engines on other servers, over the admin API', () => {
  it('makes a model that has no folder, shows it, asks nobody else, and takes it away', async (t) => {
    const { hub, ask, put } = await start(t);
    const made = await put('org/chat', CHAT);
    assert.equal(made.status, 201);
    const { engine, task, version, versions } = modelRecord.parse(await made.json());
    assert.deepEqual(
      [engine?.url, engine?.remoteName, engine?.runs, engine?.batch, task, version, versions.length],
      ['http://127.0.0.1:8000/v1', 'org/chat', 'task', 'there', 'text-generation', '1', 1],
    );
    const { digest } = hub.registry.models.resolve('org/chat').ref;
    assert.equal((await put('org/chat', { ...CHAT, remoteName: 'other' })).status, 200);
    const now = hub.registry.models.resolve('org/chat');
    assert.deepEqual([now.ref.version, now.folder], ['2', '']);
    assert.notEqual(now.ref.digest, digest, 'another model there is another one here');
    assert.equal((await ask('GET', '/v1/models/org/chat')).status, 200, 'OpenAI’s face lists it');
    assert.equal((await ask('GET', '/v2/models/org/chat')).status, 200, 'and so does the other');
    assert.equal((await ask('DELETE', '/api/v1/models/org/chat/engine')).status, 204);
    assert.equal((await ask('DELETE', '/api/v1/models/org/chat/engine')).status, 404);
    assert.equal((await ask('GET', '/api/v1/models/org/chat')).status, 404);
  });

  it('keeps a key in a file of its own, also in a backup, and shows it nowhere', async (t) => {
    const { hub, ask, put, folder } = await start(t);
    const answer = await put('chat', { ...CHAT, key: KEY });
    const shown = [await answer.text(), await (await ask('GET', '/api/v1/models/chat')).text()];
    const keys = join(folder, 'engine-keys');
    const [file = ''] = await readdir(keys);
    assert.equal((await stat(join(keys, file))).mode & 0o777, 0o600);
    assert.equal(await readFile(join(keys, file), 'utf8'), `${KEY}\n`);
    assert.deepEqual(
      (await hub.registry.engines.list()).map(({ key }) => key),
      [KEY],
    );
    const to = await temporaryFolder(t);
    await backUp({ hub: folder, to: join(to, 'copy') }, { nowAtMs: 1 });
    const copied = join(to, 'copy', 'state-1', 'engine-keys', file);
    assert.equal((await stat(copied)).mode & 0o777, 0o600);
    shown.push(
      await readFile(join(to, 'copy', 'backup.json'), 'utf8'),
      await readFile(join(folder, 'hub.json'), 'utf8'),
    );
    for (const text of shown) assert.ok(!text.includes(KEY), text);
    // Named again without a key, none is sent.
    await put('chat', CHAT);
    assert.deepEqual(await readdir(keys), []);
  });

  it('refuses by name what does not go together', async (t) => {
    const { put } = await start(t);
    await put('far', CHAT);
    for (const [name, more, about] of [
      ['chat', { task: undefined }, /task: is needed/],
      ['chat', { task: 'image-classification' }, /text-generation or feature-extraction/],
      ['generator', { task: 'feature-extraction' }, /the folder of generator does text-generation/],
      ['generator', { kind: 'open-inference' }, /graphs in a loop/],
      ['chat', { kind: 'open-inference', task: 'tensor' }, /push it first/],
      ['chat', { batch: 'here' }, /batch/],
      ['numbers', { kind: 'open-inference', task: undefined, timeoutSeconds: 60 }, /at most 50/],
      ['chat', { key: KEY, url: 'http://10.0.0.5:8000' }, /plain text/],
      ['chat', { ca: 'no certificate' }, /PEM/],
      ['chat', { fallback: 'chat' }, /fallback/],
      ['chat', { fallback: 'far' }, /fallback: must be a model that runs in this hub/],
      ['chat', { fallback: 'texts' }, /texts does text-classification/],
      ['chat', { fallback: 'nobody' }, /no model of this name/],
      ['chat', { url: 'http://name:password@10.0.0.5' }, /url/],
      ['chat', { url: 'ftp://10.0.0.5' }, /url/],
      ['chat', { key: 'two words' }, /key/],
      ['chat', { made_up: 1 }, /made_up/],
    ] as const) {
      const response = await put(name, { ...CHAT, ...more });
      const text = await response.text();
      assert.ok([400, 404].includes(response.status), `${JSON.stringify(more)}: ${text}`);
      assert.match(text, about);
      assert.ok(!text.includes(KEY));
    }
    assert.equal((await put('chat', { ...CHAT, fallback: 'generator' })).status, 201);
  });

  it('has the graph of a model with a folder run there, and comes home', async (t) => {
    const { hub, ask, put } = await start(t);
    const made = modelRecord.parse(
      await (await put('texts', { kind: 'open-inference', url: 'http://127.0.0.1:8000/v2' })).json(),
    );
    assert.deepEqual(
      [made.engine?.runs, made.engine?.batch, made.engine?.url],
      ['graph', 'here', 'http://127.0.0.1:8000'],
    );
    assert.notEqual(hub.registry.models.resolve('texts').folder, '');
    await ask('DELETE', '/api/v1/models/texts/engine');
    assert.equal(modelRecord.parse(await (await ask('GET', '/api/v1/models/texts')).json()).engine, null);
  });
});
