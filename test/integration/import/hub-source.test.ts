import assert from 'node:assert/strict';
import { mkdtemp, readFile, stat } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hubSource, mayShowToken, parseHubName } from '../../../cli/import/hub-source.ts';
import type { SourceFile } from '../../../shared/release/import/choose-files.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { COMMIT, HuggingFaceHub } from '../../support/hugging-face-hub.ts';

const WEIGHTS = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 251);
const hub = new HuggingFaceHub({
  'acme/model': {
    files: {
      'config.json': Buffer.from('{}'),
      'onnx/model.onnx': WEIGHTS,
      'a file': Buffer.from('a name that cannot travel'),
      'README.md': Buffer.from('# A model'),
    },
    large: ['onnx/model.onnx'],
  },
  'acme/secret': { files: { 'config.json': Buffer.from('{}') }, token: 'hf_secret' },
});
let baseUrl = '';
before(async () => {
  baseUrl = await hub.start();
});
after(() => hub.stop());

/** Waits of no length: a retry comes at once. */
const clock = { ...systemClock, sleep: async () => undefined };
const open = (text: string, token?: string) =>
  hubSource(text, { baseUrl, token, clock, signal: new AbortController().signal, random: () => 0 });
const folder = () => mkdtemp(join(tmpdir(), 'outrider-hub-'));

async function weightsOf(
  text = 'hf:acme/model',
): Promise<{ fetch: (into: string) => Promise<number>; asked: string[] }> {
  const source = await open(text);
  const file = (await source.list()).find(({ path }) => path === 'onnx/model.onnx') as SourceFile;
  return {
    asked: hub.asked,
    fetch: async (into) => {
      let told = 0;
      await source.fetch(file, into, (bytes) => {
        told += bytes;
      });
      return told;
    },
  };
}

test('lists a revision by its commit, over several pages, without names that cannot travel', async () => {
  hub.break();
  const source = await open('hf:acme/model@v1');
  assert.deepEqual(
    (await source.list()).map(({ path, bytes }) => [path, bytes]),
    [
      ['config.json', 2],
      ['onnx/model.onnx', WEIGHTS.length],
      ['README.md', 9],
    ],
  );
  assert.equal(source.suggestedName, 'acme/model');
  assert.ok(hub.asked.some((line) => line.startsWith(`/api/models/acme/model/tree/${COMMIT}`)));
});

test('fetches a file whole, and tells of each byte once', async () => {
  hub.break();
  const into = await folder();
  const { fetch } = await weightsOf();
  assert.equal(await fetch(into), WEIGHTS.length);
  assert.deepEqual(new Uint8Array(await readFile(join(into, 'onnx/model.onnx'))), WEIGHTS);
  // What is there whole is not asked for again.
  const before = hub.asked.length;
  assert.equal(await fetch(into), WEIGHTS.length);
  assert.equal(hub.asked.length, before);
});

test('a connection that is cut is gone on with', async () => {
  hub.break({ path: 'onnx/model.onnx', times: 2, kind: { cut: 70_000 } });
  const into = await folder();
  const { fetch, asked } = await weightsOf();
  assert.equal(await fetch(into), WEIGHTS.length);
  assert.deepEqual(new Uint8Array(await readFile(join(into, 'onnx/model.onnx'))), WEIGHTS);
  const ranges = asked.filter((line) => line.includes('/resolve/') && line.includes('bytes='));
  assert.equal(ranges.length, 2);
});

test('what broke off for good is gone on with by the next try', async () => {
  const into = await folder();
  hub.break({ path: 'onnx/model.onnx', times: 5, kind: { cut: 20_000 } });
  await assert.rejects((await weightsOf()).fetch(into), { code: 'DOWNLOAD_INCOMPLETE' });
  const { size } = await stat(join(into, 'onnx/.model.onnx.part'));
  assert.ok(size > 0 && size < WEIGHTS.length);
  hub.break();
  const { fetch, asked } = await weightsOf();
  assert.equal(await fetch(into), WEIGHTS.length);
  assert.ok(asked.some((line) => line.includes(`bytes=${size}-`)));
});

test('a mirror without ranges starts over', async () => {
  hub.break(
    { path: 'onnx/model.onnx', times: 1, kind: { cut: 50_000 } },
    { path: 'onnx/model.onnx', times: 9, kind: 'whole' },
  );
  const into = await folder();
  await (await weightsOf()).fetch(into);
  assert.deepEqual(new Uint8Array(await readFile(join(into, 'onnx/model.onnx'))), WEIGHTS);
});

test('other bytes than the hub lists are refused, large files and small', async () => {
  for (const path of ['onnx/model.onnx', 'config.json']) {
    hub.break({ path, times: 1, kind: 'wrong' });
    const source = await open('hf:acme/model');
    const file = (await source.list()).find((one) => one.path === path) as SourceFile;
    await assert.rejects(
      source.fetch(file, await folder(), () => undefined),
      { code: 'MODEL_DIGEST_MISMATCH' },
    );
  }
});

test('a busy hub is asked again, a refusal is told', async () => {
  hub.break({ path: 'onnx/model.onnx', times: 2, kind: { status: 429 } });
  await (await weightsOf()).fetch(await folder());
  hub.break({ path: 'onnx/model.onnx', times: 9, kind: { status: 503 } });
  await assert.rejects((await weightsOf()).fetch(await folder()), { code: 'HUB_UNREACHABLE' });
  hub.break({ path: 'onnx/model.onnx', times: 1, kind: { status: 403 } });
  await assert.rejects((await weightsOf()).fetch(await folder()), { code: 'FORBIDDEN' });
  hub.break({ path: 'onnx/model.onnx', times: 9, kind: { status: 418 } });
  await assert.rejects((await weightsOf()).fetch(await folder()), { code: 'HUB_FAILED' });
});

test('what is not there, or not for everybody, is named', async () => {
  hub.break();
  await assert.rejects(open('hf:acme/none'), { code: 'MODEL_UNKNOWN' });
  await assert.rejects(open('hf:acme/model@none'), { code: 'MODEL_UNKNOWN' });
  await assert.rejects(open('hf:acme/secret', 'hf_other'), { code: 'MODEL_UNKNOWN' });
  assert.equal((await (await open('hf:acme/secret', 'hf_secret')).list()).length, 1);
  const nowhere = hubSource('hf:acme/model', {
    ...{ baseUrl: 'http://127.0.0.1:9', token: undefined, clock, random: () => 0 },
    signal: new AbortController().signal,
  });
  await assert.rejects(nowhere, { code: 'HUB_UNREACHABLE' });
});

test('a name is org/name, with a revision or without', () => {
  assert.deepEqual(parseHubName('hf:acme/model@refs/pr/1'), { name: 'acme/model', revision: 'refs/pr/1' });
  for (const wrong of ['hf:model', 'hf:', 'hf:a/b/c', 'hf:../x', 'hf:a/b@', 'hf:a/b@x y'])
    assert.throws(() => parseHubName(wrong), { code: 'USAGE' }, wrong);
});

test('the token goes to its hub alone: neither where a link nor where a redirect leads, nor in plain text over a network', async (t) => {
  const shown: string[] = [];
  const listen = async (
    name: string,
    answer: (path: string, response: ServerResponse) => void,
  ): Promise<string> => {
    const server = createServer((request, response) => {
      if (request.headers.authorization !== undefined) shown.push(`${name} ${request.url}`);
      answer(request.url ?? '', response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const other = await listen('other', (path, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(path.startsWith('/list') ? '[]' : '{}');
  });
  const mirror = await listen('mirror', (path, response) => {
    response.setHeader('content-type', 'application/json');
    if (path.includes('/resolve/')) response.writeHead(302, { location: `${other}/file` }).end();
    else if (path.includes('/tree/')) {
      response.setHeader('link', `<${other}/list>; rel="next"`);
      response.end(JSON.stringify([{ type: 'file', path: 'config.json', size: 2 }]));
    } else response.end(JSON.stringify({ _id: '1', id: 'acme/model', sha: COMMIT }));
  });
  const source = await hubSource('hf:acme/model', {
    ...{ baseUrl: mirror, token: 'hf_secret', clock, signal: new AbortController().signal, random: () => 0 },
  });
  const [file] = await source.list();
  assert.ok(file);
  await source.fetch(file, await folder(), () => undefined);
  assert.ok(shown.length >= 3);
  assert.deepEqual(
    shown.filter((line) => line.startsWith('other')),
    [],
  );
  const may = (url: string, hubUrl: string): boolean => mayShowToken(new URL(url), new URL(hubUrl));
  assert.ok(may('https://hf.co/api', 'https://hf.co'));
  assert.ok(may('http://localhost:8080/api', 'http://localhost:8080'));
  assert.ok(!may('http://mirror.lan/api', 'http://mirror.lan'));
  assert.ok(!may('http://hf.co/api', 'https://hf.co'));
  assert.ok(!may('https://hf.co.evil.example/api', 'https://hf.co'));
});
