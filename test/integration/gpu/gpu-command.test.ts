import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findNvidiaDriver } from '../../../shared/inference/providers/nvidia.ts';
import { outrider } from '../../support/programs.ts';

const isX64 = process.platform === 'linux' && process.arch === 'x64';

test('outrider gpu says what is here, and install wants a driver, a yes, and the right files', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'outrider-gpu-'));
  t.after(() => rmSync(data, { recursive: true, force: true }));
  const run = async (args: readonly string[]) => {
    const program = outrider(t, ['gpu', ...args, '--data', data]);
    const { code } = await program.exited;
    return { code, said: program.output() };
  };
  const status = await run(['--json']);
  assert.equal(status.code, 0, status.said);
  const told = JSON.parse(status.said) as {
    libraries: unknown;
    tried: { provider: string; problem: unknown }[];
  };
  assert.equal(told.libraries, null);
  assert.deepEqual(
    { provider: told.tried[0]?.provider, problem: told.tried[0]?.problem },
    { provider: 'cpu', problem: null },
  );
  assert.match((await run([])).said, /cpu +gives the golden answers of cifar10-cnn/);
  if ((await findNvidiaDriver()) === undefined) {
    const refused = await run(['install', '--yes']);
    assert.equal(refused.code, 1);
    assert.match(refused.said, /\(GPU_MISSING\)/);
  }
  if (isX64) {
    const asked = await run(['install', '--force']);
    assert.equal(asked.code, 2);
    assert.match(asked.said, /onnxruntime-gpu +1\.30\.0 .*MIT[\s\S]*nvidia-cublas[\s\S]*NVIDIA proprietary/);
    assert.match(asked.said, /nothing is fetched without a yes: give --yes.*\(USAGE\)/);
    const brought = await run(['install', '--force', '--yes', '--from', data]);
    assert.equal(brought.code, 1);
    assert.match(brought.said, /has no onnxruntime_gpu-1\.30\.0.*\(LIBRARY_INVALID\)/);
  }
  assert.match((await run(['remove'])).said, /removed/);
  const hub = outrider(t, [
    'hub',
    '--provider',
    'cuda',
    '--data',
    data,
    '--models',
    data,
    '--hub-port',
    '0',
    '--mqtt-port',
    '0',
  ]);
  if ((await findNvidiaDriver()) === undefined) {
    assert.equal((await hub.exited).code, 1);
    assert.match(
      hub.output(),
      /--provider cuda: there is no NVIDIA driver on this machine.*\(RUNNER_START_FAILED\)/,
    );
  }
});
