"""ONNX: export, the quantizations that the models use, and running a file."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper

OPSET = 17
# An initializer below this size stays float: its scales would weigh as much as what it saves.
MIN_QUANTIZED_ELEMENTS = 1024
# Weights in -64..64, what `reduce_range` gives.
LARGEST_7_BIT, LARGEST_8_BIT = 64, 127


def export(
    model: torch.nn.Module,
    path: Path,
    example: dict[str, torch.Tensor],
    dynamic_axes: dict,
    outputs: tuple[str, ...] = ("logits",),
) -> None:
    """Writes `model` as one ONNX file whose inputs are named as in `example`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        tuple(example.values()),
        str(path),
        input_names=list(example),
        output_names=list(outputs),
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
    for node in _nodes_of(graph):
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


def _nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those in the branches of an If too: they use the outer graph's initializers."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes_of(attribute.g)


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


# What a graph is fed, by the names of its inputs.
Feeds = dict[str, np.ndarray]


def round_weights(source: Path, target: Path, samples: Iterable[Feeds], largest: int) -> None:
    """Rounds the weights of Conv and Gemm to -largest..largest steps per output channel and corrects their biases.

    What rounding changes in a channel's mean output over `samples`, (W - rounded W) * mean input, is added to its bias
    (arXiv:1906.04721, section 4.2). A quantizer with the same steps then finds the weights on its grid. A Conv or Gemm
    without a bias in the graph stays as it is.
    """
    model = onnx.load(source)
    initializers = {initializer.name: initializer for initializer in model.graph.initializer}
    layers = [
        node
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm") and len(node.input) == 3 and set(node.input[1:]) <= initializers.keys()
    ]
    means = _mean_inputs(model, {node.input[0] for node in layers}, samples)
    for node in layers:
        weight, bias = (numpy_helper.to_array(initializers[name]).astype(np.float64) for name in node.input[1:])
        _, axis = _weight_of(node)
        rows = np.moveaxis(weight, axis, 0)
        scale = np.maximum(np.abs(rows).max(axis=tuple(range(1, rows.ndim)), keepdims=True), 1e-12) / largest
        rounded = np.rint(rows / scale) * scale
        lost = (rows - rounded).reshape(*rows.shape[:2], -1).sum(2)
        mean = means[node.input[0]]
        # Depthwise: one input channel for each output channel.
        correction = lost[:, 0] * mean if lost.shape[1] == 1 else lost @ mean
        changed = (np.moveaxis(rounded, 0, axis), bias + correction)
        for name, values in zip(node.input[1:], changed):
            initializers[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(model, target)


def _mean_inputs(model: onnx.ModelProto, names: set[str], samples: Iterable[Feeds]) -> dict[str, np.ndarray]:
    """f64[C] for each named tensor f32[N,C,...]: the mean of each channel over `samples`."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inner = sorted(names - {entry.name for entry in model.graph.input})
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inner)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    sums, count = {name: np.zeros(1) for name in names}, 0
    for sample in samples:
        values = dict(zip(inner, session.run(inner, sample))) | sample
        for name in names:
            value = values[name]
            sums[name] = sums[name] + value.mean(axis=tuple(i for i in range(value.ndim) if i != 1), dtype=np.float64)
        count += 1
    return {name: total / count for name, total in sums.items()}


def quantize_static_u8s8(
    source: Path, target: Path, samples: Iterable[Feeds], operators: list[str] | None = None
) -> None:
    """Static QDQ: u8 activations (MinMax over `samples`), 7-bit s8 weights per channel; BatchNorm and padding folded first.

    `operators`: the types of nodes that become int8; all that can when left out.
    """
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(rows)

        def get_next(self):
            return next(self.rows, None)

    rows = list(samples)
    prepared = source.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    round_weights(prepared, prepared, rows, LARGEST_7_BIT)
    target.parent.mkdir(parents=True, exist_ok=True)
    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=operators,
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
