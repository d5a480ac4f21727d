import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstLine } from '../../../../shared/inference/graph/runtime-message.ts';

test('a message of ONNX Runtime is told without the places and signatures of its sources', () => {
  for (const [said, told] of [
    [
      'Load model from m.onnx failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:202 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const onnxruntime::ModelOptions&) Unsupported model IR version: 99, max supported IR version: 13\n',
      'Unsupported model IR version: 99, max supported IR version: 13',
    ],
    [
      'Load model from a.onnx failed:/o/core/graph/model_load_utils.h:46 void onnxruntime::ValidateOpsetForDomain(const std::unordered_map<std::basic_string<char>, int>&, bool, int) ONNX Runtime only *guarantees* support for models (of today).',
      'ONNX Runtime only *guarantees* support for models (of today).',
    ],
    [
      "Non-zero status code returned while running Reshape node. Name:'r' Status Message: /o/cpu/tensor/reshape_helper.h:47 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) input_shape_size == size was false. The input tensor cannot be reshaped to the requested shape. Input shape:{1,4}, requested shape:{3}",
      "Non-zero status code returned while running Reshape node. Name:'r' Status Message: input_shape_size == size was false. The input tensor cannot be reshaped to the requested shape. Input shape:{1,4}, requested shape:{3}",
    ],
    [
      '/o/x.cc:1 auto f(int)::<lambda(int)>::operator()(int) const [with T = float] It is so (or not).',
      'It is so (or not).',
    ],
    [
      'Got invalid dimensions for input: x for the following indices\n index: 1 Got: 5 Expected: 4\n Please fix',
      'Got invalid dimensions for input: x for the following indices; index: 1 Got: 5 Expected: 4',
    ],
    ['no place at all (none)', 'no place at all (none)'],
  ] as const)
    assert.equal(firstLine(new Error(said)), told);
});
