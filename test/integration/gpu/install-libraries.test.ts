/** Wheels of a few bytes from a real package index of our own: what is fetched, checked, unpacked, and refused. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { strToU8, zipSync } from 'fflate';
import { installLibraries, neededWheels } from '../../../cli/gpu/install-libraries.ts';
import { requireGpu } from '../../../cli/gpu/require-gpu.ts';
import { WHEELS, WHEELS_FOR, type Wheel } from '../../../cli/gpu/wheels.ts';
import { findGpuLibraries, runtimeVersion } from '../../../shared/inference/providers/gpu-libraries.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';

const PROVIDERS = zipSync({
  'onnxruntime/LICENSE': strToU8('MIT License'),
  'onnxruntime/capi/libonnxruntime_providers_cuda.so': strToU8('cuda'.repeat(10_000)),
  'onnxruntime/capi/libonnxruntime_providers_shared.so': strToU8('shared'),
  'onnxruntime/capi/libonnxruntime_providers_tensorrt.so': strToU8('not asked for'),
});
const CUDART = zipSync({
  'nvidia/cu13/lib/libcudart.so.13': strToU8('cudart'),
  'nvidia/cu13/lib/libcudart_static.a': strToU8('not a library to load'),
  'nvidia_cuda_runtime-13.0.96.dist-info/licenses/License.txt': strToU8('terms'),
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function tableOf(contents: Readonly<Record<string, Uint8Array>>): Wheel[] {
  return WHEELS.flatMap((wheel) => {
    const content = contents[wheel.name];
    return content ? [{ ...wheel, bytes: content.length, sha256: sha256(content) }] : [];
  });
}

const WHOLE = { 'onnxruntime-gpu': PROVIDERS, 'nvidia-cuda-runtime': CUDART };
const TABLE = tableOf(WHOLE);

/** A package index; what it serves may be other than what the table says. */
async function packageIndex(t: TestContext, served: Readonly<Record<string, Uint8Array>>) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const [, kind, name = ''] = (request.url ?? '').split('/');
    const wheel = TABLE.find((one) => (kind === 'simple' ? one.name === name : one.file === name));
    const content = wheel && served[wheel.name];
    if (!wheel || !content) return void response.writeHead(404).end();
    if (kind === 'simple') {
      const files = [{ filename: wheel.file, url: `/files/${wheel.file}` }];
      return void response
        .setHeader('content-type', 'application/vnd.pypi.simple.v1+json')
        .end(JSON.stringify({ files }));
    }
    response.end(content);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/simple/`, asked };
}

function setUp(t: TestContext) {
  const dataDir = mkdtempSync(join(tmpdir(), 'outrider-gpu-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  let told = 0;
  return {
    dataDir,
    told: () => told,
    install: (given: { index?: string; from?: string; wheels?: readonly Wheel[] }) =>
      installLibraries({
        ...{ dataDir, wheels: given.wheels ?? TABLE, from: given.from },
        index: {
          index: given.index ?? 'http://127.0.0.1:9',
          ...{ clock, signal: new AbortController().signal, random: () => 0 },
        },
        onBytes: (bytes) => {
          told += bytes;
        },
        onStep: () => undefined,
      }),
  };
}

const refuses = (code: ErrorCode, words: RegExp) => (error: unknown) =>
  isAppError(error, code) && words.test(error.message);

test('the table is of the ONNX Runtime that runs here, and what the machine has is left out', async () => {
  assert.equal(await runtimeVersion(), WHEELS_FOR, 'renew cli/gpu/wheels.ts: docs/gpu.md says how');
  assert.equal((await neededWheels(new Set())).length, WHEELS.length);
  const names = (await neededWheels(new Set(['libcudart.so.13', 'libcudnn.so.9']))).map(({ name }) => name);
  assert.deepEqual(names, ['onnxruntime-gpu', 'nvidia-cublas', 'nvidia-curand', 'nvidia-cuda-nvrtc']);
});

test('CUDA wants an NVIDIA driver on linux-x64; for an image the platform alone', () => {
  const machine = { platform: 'linux', arch: 'x64', driver: undefined };
  assert.throws(() => requireGpu(machine), refuses('GPU_MISSING', /no NVIDIA driver here.*--force/));
  assert.throws(
    () => requireGpu({ ...machine, arch: 'arm64' }, true),
    refuses('GPU_MISSING', /this is linux-arm64/),
  );
  assert.doesNotThrow(() => requireGpu(machine, true));
  assert.doesNotThrow(() => requireGpu({ ...machine, driver: { version: '580.1', gpus: [] } }));
});

test('libraries are fetched, checked and put in place with ONNX Runtime and their licences', async (t) => {
  const { dataDir, told, install } = setUp(t);
  const index = await packageIndex(t, WHOLE);
  assert.deepEqual(await findGpuLibraries(dataDir), { problem: 'they are not installed' });
  const { folder, manifest } = await install({ index: index.url });
  assert.deepEqual(readdirSync(folder).sort(), [
    'LICENSE-nvidia-cuda-runtime.txt',
    'LICENSE-onnxruntime-gpu.txt',
    'libcudart.so.13',
    'libonnxruntime.so.1',
    'libonnxruntime_providers_cuda.so',
    'libonnxruntime_providers_shared.so',
    'libraries.json',
  ]);
  assert.equal(readFileSync(join(folder, 'libcudart.so.13'), 'utf8'), 'cudart');
  assert.deepEqual(
    manifest.packages.map(({ name }) => name),
    ['onnxruntime-gpu', 'nvidia-cuda-runtime'],
  );
  assert.equal(told(), PROVIDERS.length + CUDART.length);
  assert.deepEqual(
    readdirSync(join(dataDir, 'gpu')),
    [`onnxruntime-${WHEELS_FOR}`],
    'nothing is left beside them',
  );
  // One that is cut short later is not loaded.
  writeFileSync(join(folder, 'libcudart.so.13'), 'cu');
  assert.match(JSON.stringify(await findGpuLibraries(dataDir)), /libcudart\.so\.13 is not whole/);
});

test('wheels that somebody has brought do as well', async (t) => {
  const { dataDir, install } = setUp(t);
  const from = join(dataDir, 'brought');
  for (const [at, { file }] of TABLE.entries()) {
    mkdirSync(from, { recursive: true });
    writeFileSync(join(from, file), at === 0 ? PROVIDERS : CUDART);
  }
  await install({ from });
  assert.ok('folder' in (await findGpuLibraries(dataDir)));
  assert.ok(existsSync(join(from, TABLE[0]?.file ?? '')), 'what was brought stays');
});

test('what is not the listed wheel is refused, and nothing of it is in place', async (t) => {
  const { dataDir, install } = setUp(t);
  const other = await packageIndex(t, { ...WHOLE, 'nvidia-cuda-runtime': zipSync({ other: strToU8('x') }) });
  await assert.rejects(install({ index: other.url }), refuses('DOWNLOAD_INCOMPLETE', /broke off/));
  const same = CUDART.slice();
  same[40] = 255;
  const forged = await packageIndex(t, { ...WHOLE, 'nvidia-cuda-runtime': same });
  await assert.rejects(
    install({ index: forged.url }),
    refuses('LIBRARY_INVALID', /is not what Outrider lists/),
  );
  await assert.rejects(
    install({ from: dataDir }),
    refuses('LIBRARY_INVALID', /has no onnxruntime_gpu-.*SHA-256/),
  );
  const empty = zipSync({ 'nvidia/cu13/lib/other.so': strToU8('x') });
  const wheels = tableOf({ 'nvidia-cuda-runtime': empty });
  const hollow = await packageIndex(t, { 'nvidia-cuda-runtime': empty });
  await assert.rejects(
    install({ index: hollow.url, wheels }),
    refuses('LIBRARY_INVALID', /does not have the libraries/),
  );
  assert.ok('problem' in (await findGpuLibraries(dataDir)));
});

test('an index that has it not, is none, or is away, is named', async (t) => {
  const { install } = setUp(t);
  const index = await packageIndex(t, {});
  await assert.rejects(install({ index: index.url }), refuses('NOT_FOUND', /onnxruntime-gpu\/ is not there/));
  const page = createServer((_request, response) => response.end('<html></html>'));
  await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
  t.after(() => page.close());
  const url = `http://127.0.0.1:${(page.address() as AddressInfo).port}`;
  await assert.rejects(install({ index: url }), refuses('HUB_FAILED', /form of a package index/));
  await assert.rejects(
    install({ index: 'http://127.0.0.1:9' }),
    refuses('HUB_UNREACHABLE', /--index.*--from/),
  );
});
