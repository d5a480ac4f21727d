"""ONNX: export, the quantizations that the models use, and running a file."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# An initializer below this size stays float: its scales would weigh as much as what it saves.
MIN_QUANTIZED_ELEMENTS = 1024


def export(model: torch.nn.Module, path: Path, example: dict[str, torch.Tensor], dynamic_axes: dict) -> None:
    """Writes `model` as one ONNX file whose inputs are named as in `example` and whose output is `logits`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        tuple(example.values()),
        str(path),
        input_names=list(example),
        output_names=["logits"],
        dynamic_axes=dynamic_axes,
        opset_version=OPSET,
        dynamo=False,
    )


def store_int8_weights(source: Path, target: Path) -> None:
    """Stores the weights of MatMul, Gemm, Conv and Gather as int8 with one scale per output channel (per row for Gather).

    Each becomes DequantizeLinear(int8 initializer), so all arithmetic stays float and batching stays exact. ONNX Runtime
    folds these nodes at load with the session option `session.disable_quant_qdq = '1'`.
    """
    model = onnx.load(source)
    graph = model.graph
    initializers = {initializer.name: initializer for initializer in graph.initializer}
    axes: dict[str, set[int]] = {}
    for node in graph.node:
        position, axis = _weight_of(node)
        if position is not None and node.input[position] in initializers:
            axes.setdefault(node.input[position], set()).add(axis)

    dequantizers = []
    for name, found in axes.items():
        weight = numpy_helper.to_array(initializers[name])
        if len(found) != 1 or weight.dtype != np.float32 or weight.ndim < 2 or weight.size < MIN_QUANTIZED_ELEMENTS:
            continue
        axis = found.pop() % weight.ndim
        others = tuple(index for index in range(weight.ndim) if index != axis)
        scale = np.maximum(np.abs(weight).max(axis=others), 1e-12).astype(np.float32) / 127
        shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
        quantized = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
        graph.initializer.remove(initializers[name])
        graph.initializer.extend(
            [
                numpy_helper.from_array(quantized, f"{name}_int8"),
                numpy_helper.from_array(scale, f"{name}_scale"),
                numpy_helper.from_array(np.zeros(scale.shape, np.int8), f"{name}_zero"),
            ]
        )
        inputs = [f"{name}_int8", f"{name}_scale", f"{name}_zero"]
        dequantizers.append(helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_dequantize", axis=axis))
    nodes = [*dequantizers, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)


def _weight_of(node: onnx.NodeProto) -> tuple[int | None, int]:
    """Which input of a node is its weight, and which axis of it gets one scale each."""
    if node.op_type == "MatMul":
        return 1, -1
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transB" and attribute.i == 1 for attribute in node.attribute)
        return 1, 0 if transposed else 1
    if node.op_type == "Conv":
        return 1, 0
    if node.op_type == "Gather":
        return 0, 0
    return None, 0


def quantize_static_u8s8(source: Path, target: Path, samples: Iterable[np.ndarray], input_name: str) -> None:
    """Static QDQ: u8 activations (MinMax over `samples`), 7-bit s8 weights per channel; BatchNorm and padding folded first."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(samples)

        def get_next(self):
            row = next(self.rows, None)
            return None if row is None else {input_name: row}

    prepared = source.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # Weights in -64..64. On x86 without VNNI, ONNX Runtime multiplies u8 by s8 with VPMADDUBSW, which adds two products
        # in 16 bits and saturates: 2 * 255 * 127 does not fit, 2 * 255 * 64 does. Measured: docs/decisions/0013.
        # https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
    )


def quantize_dynamic_int8(source: Path, target: Path) -> None:
    """Dynamic int8: weights s8, activations quantized at run time, so that a row's result depends on its batch neighbours."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target.parent.mkdir(parents=True, exist_ok=True)
    quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8)


class OnnxModel:
    """Runs one ONNX file; `fold` is the option for files made by `store_int8_weights`."""

    def __init__(self, path: Path, threads: int = 2, fold: bool = False):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if fold:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def logits(self, **inputs: np.ndarray) -> np.ndarray:
        """f32[N,C] for one batch."""
        return self.session.run(["logits"], inputs)[0]
