import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLdconfig } from '../../../../../cli/gpu/system-libraries.ts';
import { isProvidersFault } from '../../../../../shared/inference/graph/runtime-message.ts';
import { parseGpus } from '../../../../../shared/inference/providers/nvidia.ts';
import { AppError } from '../../../../../shared/runtime/errors.ts';

test('GPUs are read from what nvidia-smi lists', () => {
  assert.deepEqual(parseGpus('580.95.05, 143771, NVIDIA H200\n580.95.05, [N/A], NVIDIA A100, 40GB\n'), {
    version: '580.95.05',
    gpus: [
      { name: 'NVIDIA H200', memoryBytes: 143_771 * 1024 ** 2 },
      { name: 'NVIDIA A100, 40GB', memoryBytes: undefined },
    ],
  });
  assert.equal(parseGpus('No devices were found\n'), undefined);
});

test('libraries of the loader are those of this kind of processor', () => {
  const listed = parseLdconfig(
    [
      '3 libs found in cache `/etc/ld.so.cache’',
      '\tlibcudart.so.13 (libc6,x86-64) => /usr/local/cuda/lib64/libcudart.so.13',
      '\tlibcublasLt.so.13 (libc6) => /usr/lib32/libcublasLt.so.13',
      '\tlibcudnn.so.9 (libc6,x86-64, OS ABI: Linux 3.2.0) => /usr/lib/libcudnn.so.9',
    ].join('\n'),
  );
  assert.deepEqual([...listed], ['libcudart.so.13', 'libcudnn.so.9']);
});

test('a provider’s failure is told from a graph’s, as ONNX Runtime and the drivers say it', () => {
  const ofProviders = [
    'CUDA failure 999: unknown error ; GPU=0 ; hostname=gate ; expr=cudaMemcpyAsync(...)',
    'CUDNN failure 4000: CUDNN_STATUS_INTERNAL_ERROR ; GPU=0',
    'CUBLAS failure 13: CUBLAS_STATUS_ALLOC_FAILED',
    'Failed to allocate memory for requested buffer of size 8589934592',
    'WebGPU device lost (2): A valid external Instance reference no longer exists.',
    'vkQueueSubmit failed with VK_ERROR_DEVICE_LOST',
  ];
  for (const message of ofProviders) {
    assert.ok(isProvidersFault(new Error(message)), message);
    const told = new AppError('MODEL_INVALID', 'model.onnx failed', { cause: new Error(message) });
    assert.ok(isProvidersFault(told), `as a cause: ${message}`);
  }
  const ofGraphs = [
    'Got invalid dimensions for input: input for the following indices',
    "Non-zero status code returned while running Reshape node. Name:'r' Status Message: the input tensor cannot be reshaped",
    'the graph gives [1,2] for 3 pictures',
  ];
  for (const message of ofGraphs) assert.ok(!isProvidersFault(new Error(message)), message);
});
