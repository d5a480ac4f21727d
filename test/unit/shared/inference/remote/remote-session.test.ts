/** A graph on a server of the Open Inference Protocol: what it may say of itself, and what it may answer, before it is believed. */
import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { EngineHttp } from '../../../../../shared/inference/remote/engine-http.ts';
import { openRemotely } from '../../../../../shared/inference/remote/remote-session.ts';
import type { TaskModel } from '../../../../../shared/inference/runner/task-model.ts';
import { loadImageClassification } from '../../../../../shared/inference/tasks/image-classification.ts';
import { readSpec } from '../../../../../shared/release/folder/model-folder.ts';
import { Authority } from '../../../../../shared/runtime/authority.ts';
import { CertificateFiles } from '../../../../../shared/runtime/certificate-files.ts';
import { systemClock } from '../../../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../../shared/runtime/logger.ts';
import {
  type EngineServer,
  type HeardRequest,
  half,
  hang,
  json,
  noise,
  type Say,
  startEngineServer,
} from '../../../../support/engine-server.ts';
import { temporaryFolder } from '../../../../support/fixed.ts';

const FOLDER = fileURLToPath(new URL('../../../../fixtures/models/colours', import.meta.url));
const TIMEOUT_MS = 300;

interface Tensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}
const INPUT: Tensor = { name: 'pixel_values', datatype: 'FP32', shape: [-1, 3, 8, 8] };
const OUTPUT: Tensor = { name: 'logits', datatype: 'FP32', shape: [-1, 3] };
const metadata = (inputs: Tensor[] = [INPUT], outputs: Tensor[] = [OUTPUT]): Say =>
  json({ name: 'colours', versions: ['1'], platform: 'onnx', inputs, outputs });

/** The fixture's own graph: means of the planes, times eight. @returns logits of each row */
function answerOf({ headers, body }: HeardRequest): { rows: number[][]; isBinary: boolean } {
  const headBytes = Number(headers['inference-header-content-length'] ?? body.length);
  const head = JSON.parse(body.subarray(0, headBytes).toString()) as {
    inputs: [{ shape: number[]; data?: number[] }];
  };
  const [{ shape, data }] = head.inputs;
  const tail = body.subarray(headBytes);
  const values = data ?? Array.from({ length: tail.length / 4 }, (_, at) => tail.readFloatLE(at * 4));
  const count = shape[0] ?? 0;
  const plane = values.length / (3 * count);
  const rows = Array.from({ length: count }, (_, row) =>
    [0, 1, 2].map((colour) => {
      const from = (row * 3 + colour) * plane;
      return (8 * values.slice(from, from + plane).reduce((sum, one) => sum + one, 0)) / plane;
    }),
  );
  return { rows, isBinary: data === undefined };
}

const honest: Say = (response, request) => {
  const { rows, isBinary } = answerOf(request);
  const output = { name: 'logits', datatype: 'FP32', shape: [rows.length, 3] };
  if (!isBinary)
    return json({ model_name: 'colours', outputs: [{ ...output, data: rows.flat() }] })(response, request);
  return binary({ ...output, parameters: { binary_data_size: rows.length * 12 } }, rows.flat())(
    response,
    request,
  );
};

/** An answer in binary, whatever its head says. */
const binary =
  (output: object, numbers: number[], headLength?: string): Say =>
  (response) => {
    const head = Buffer.from(JSON.stringify({ model_name: 'colours', outputs: [output] }));
    const tail = Buffer.alloc(numbers.length * 4);
    for (const [at, value] of numbers.entries()) tail.writeFloatLE(value, at * 4);
    response.writeHead(200, { 'inference-header-content-length': headLength ?? String(head.length) });
    response.end(Buffer.concat([head, tail]));
  };

async function serve(t: TestContext, isBinary = true): Promise<EngineServer> {
  const server = await startEngineServer(t);
  server.says.set(
    '/v2',
    json({ name: 'x', version: '1', extensions: isBinary ? ['binary_tensor_data'] : [] }),
  );
  server.says.set('/v2/models/colours', metadata());
  server.says.set('/infer', honest);
  return server;
}

const open = async (server: EngineServer, timeoutMs = TIMEOUT_MS): Promise<TaskModel<unknown>> =>
  (await loadImageClassification({
    ...{
      folder: FOLDER,
      spec: await readSpec(FOLDER),
      threads: 1,
      allowSpinning: false,
      executionProvider: 'cpu',
    },
    openSession: openRemotely({
      ...{ url: server.url, key: 'a-secret-key', ca: null, timeoutMs },
      model: { name: 'colours', version: null },
    }),
  })) as TaskModel<unknown>;

async function ask(model: TaskModel<unknown>, colours: readonly string[]): Promise<string[]> {
  const batch = await Promise.all(
    colours.map(async (background) =>
      model.prepare({
        contentType: 'image/png',
        body: await sharp({ create: { width: 20, height: 10, channels: 3, background } })
          .png()
          .toBuffer(),
      }),
    ),
  );
  return (await model.run(batch)).map((answer) => {
    if (isAppError(answer)) throw answer;
    return (answer.output as { label: string }[])[0]?.label ?? '';
  });
}

const fails = (code: ErrorCode, about: RegExp) => (error: unknown) => {
  assert.ok(isAppError(error, code), String(error));
  assert.match(error.message, about);
  assert.doesNotMatch(error.message, /a-secret-key/);
  return true;
};

describe('a graph on another server', () => {
  for (const isBinary of [true, false])
    it(`gets tensors ${isBinary ? 'in binary' : 'in JSON, where it has no binary extension'}, with the key and the time`, async (t) => {
      const server = await serve(t, isBinary);
      const model = await open(server);
      assert.deepEqual(await ask(model, ['#ff0000', '#0000ff']), ['red', 'blue']);
      const { headers, body } = server.heard.at(-1) ?? assert.fail();
      assert.equal(headers.authorization, 'Bearer a-secret-key');
      assert.equal(headers['inference-header-content-length'] !== undefined, isBinary);
      const head = JSON.parse(
        body.subarray(0, Number(headers['inference-header-content-length'] ?? body.length)).toString(),
      );
      assert.deepEqual(head.parameters, { timeout: TIMEOUT_MS * 1000 });
    });

  it('is believed by its answers alone where it does not describe its tensors', async (t) => {
    const server = await serve(t, false);
    server.says.set(
      '/v2/models/colours',
      json({ name: 'colours', versions: [], platform: '', inputs: null }),
    );
    assert.deepEqual(await ask(await open(server), ['#00ff00']), ['green']);
  });

  it('is refused where it says that its model takes or gives something else', async (t) => {
    const server = await serve(t);
    for (const [inputs, outputs, about] of [
      [[{ ...INPUT, name: 'image' }], [OUTPUT], /no input pixel_values.*it has image/],
      [[{ ...INPUT, datatype: 'UINT8' }], [OUTPUT], /UINT8 in input pixel_values/],
      [[{ ...INPUT, shape: [-1, 8, 8, 3] }], [OUTPUT], /\[-1,8,8,3\]/],
      [[INPUT, { ...INPUT, name: 'mask' }], [OUTPUT], /wants an input mask/],
      [[INPUT], [{ ...OUTPUT, shape: [-1, 1000] }], /\[-1,1000\]/],
      [[INPUT], [{ ...OUTPUT, name: 'probabilities' }], /no output logits/],
    ] as const) {
      server.says.set('/v2/models/colours', metadata([...inputs], [...outputs]));
      await assert.rejects(open(server), fails('ENGINE_MISFIT', about));
    }
    server.says.set('/v2/models/colours', json(['metadata']));
    await assert.rejects(open(server), fails('ENGINE_FAILED', /no metadata/));
    server.says.delete('/v2/models/colours');
    await assert.rejects(open(server), fails('ENGINE_REFUSED', /does not know/));
  });

  it('lies, breaks off, hangs or sends elsewhere: one clear failure within its time, and the next answer is right again', async (t) => {
    const server = await serve(t);
    const model = await open(server);
    const output = { name: 'logits', datatype: 'FP32', shape: [1, 3], parameters: { binary_data_size: 12 } };
    const said = { ...OUTPUT, shape: [1, 3] };
    for (const [name, say, code, about] of [
      [
        'another shape',
        json({ outputs: [{ ...said, shape: [1, 4], data: [1, 2, 3, 4] }] }),
        'ENGINE_FAILED',
        /\[1,4\]/,
      ],
      [
        'another number of rows',
        json({ outputs: [{ ...said, shape: [2, 3], data: [1, 2, 3, 4, 5, 6] }] }),
        'ENGINE_FAILED',
        /for 1 rows/,
      ],
      [
        'fewer elements than its shape',
        json({ outputs: [{ ...said, data: [1, 2] }] }),
        'ENGINE_FAILED',
        /2 elements/,
      ],
      [
        'another type',
        json({ outputs: [{ ...said, datatype: 'INT32', data: [1, 2, 3] }] }),
        'ENGINE_FAILED',
        /int32/,
      ],
      [
        'no type of the protocol',
        json({ outputs: [{ ...said, datatype: 'BF16', data: [1, 2, 3] }] }),
        'ENGINE_FAILED',
        /BF16/,
      ],
      [
        'another output',
        json({ outputs: [{ ...said, name: 'scores', data: [1, 2, 3] }] }),
        'ENGINE_FAILED',
        /not logits/,
      ],
      [
        'an output twice',
        json({
          outputs: [
            { ...said, data: [1, 2, 3] },
            { ...said, data: [1, 2, 3] },
          ],
        }),
        'ENGINE_FAILED',
        /twice/,
      ],
      [
        'words for numbers',
        json({ outputs: [{ ...said, data: ['a', 'b', 'c'] }] }),
        'ENGINE_FAILED',
        /no number/,
      ],
      ['no answer at all', json({ hello: 'world' }), 'ENGINE_FAILED', /no answer/],
      ['half of the tensor', binary({ ...output }, [1, 2]), 'ENGINE_FAILED', /half/],
      ['a head longer than all', binary({ ...output }, [1, 2, 3], '99999'), 'ENGINE_FAILED', /cannot be/],
      ['half of an answer', half, 'ENGINE_FAILED', /breaks off/],
      ['no HTTP', noise, 'ENGINE_FAILED', /no HTTP/],
      [
        'elsewhere',
        json({}, 307, { location: 'http://169.254.169.254/' }),
        'ENGINE_FAILED',
        /redirects are not followed/,
      ],
      [
        'its own failure',
        json({ error: 'CUDA out of memory, key a-secret-key' }, 500),
        'ENGINE_FAILED',
        /CUDA out of memory, key …/,
      ],
      ['nothing for ever', hang, 'ENGINE_TIMEOUT', /within 0.3 s/],
      ['not now', json({ error: 'loading' }, 503), 'ENGINE_UNREACHABLE', /loading/],
      ['no to the key', json({}, 401), 'ENGINE_REFUSED', /refuses the key/],
      ['too many', json({}, 429, { 'retry-after': '7' }), 'QUEUE_FULL', /busy/],
      ['no to the input', json({ error: 'unexpected shape' }, 400), 'INPUT_INVALID', /unexpected shape/],
      ['no numbers', binary({ ...output }, [Number.NaN, 1, 2]), 'OUTPUT_NOT_FINITE', /NaN/],
    ] as const) {
      server.says.set('/infer', say);
      await assert.rejects(ask(model, ['#ff0000']), fails(code, about), name);
      server.says.set('/infer', honest);
      assert.deepEqual(await ask(model, ['#ff0000']), ['red'], `after ${name}`);
    }
  });

  it('is not there, or not believed', async () => {
    const place = { key: null, ca: null, timeoutMs: TIMEOUT_MS };
    const away = new EngineHttp({ ...place, url: 'http://127.0.0.1:1' });
    await assert.rejects(away.ask({ path: '/v2' }), fails('ENGINE_UNREACHABLE', /nobody listens/));
    const gone = new AbortController();
    gone.abort();
    await assert.rejects(away.ask({ path: '/v2', signal: gone.signal }), fails('EXPIRED', /nobody waits/));
  });

  it('is believed under its own authority alone', async (t) => {
    const parts = { clock: systemClock, logger: silentLogger };
    const authority = await Authority.open({
      folder: join(await temporaryFolder(t), 'tls'),
      names: [],
      ...parts,
    });
    const { current } = await CertificateFiles.open(authority, parts);
    const server = createServer(current, (_request, response) => response.end('{}'));
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = `https://localhost:${(server.address() as AddressInfo).port}`;
    const place = { url, key: null, timeoutMs: 5_000 };
    const trusting = new EngineHttp({ ...place, ca: authority.pem });
    assert.equal((await trusting.ask({ path: '/v2' })).body.toString(), '{}');
    trusting.close();
    await assert.rejects(
      new EngineHttp({ ...place, ca: null }).ask({ path: '/v2' }),
      fails('ENGINE_UNTRUSTED', /not trusted/),
    );
  });
});
