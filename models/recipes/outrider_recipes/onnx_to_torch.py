"""An ONNX network as a torch module, quantized or not: to go on training where only the model folder is left, and to write it back.

A static int8 graph is read as the float graph that it was made from: weights are multiplied by their scales, a QuantizeLinear whose zero
point is 0 (unsigned) is the ReLU that the quantizer has put into it, any other is passed over.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

# What keeps a tensor that is nowhere negative so.
KEEPS_SIGN = {"Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Reshape"}


def float_graph(path: Path) -> onnx.ModelProto:
    """The graph without quantization, with float weights under the names that its nodes ask for."""
    model = onnx.load(path)
    graph = model.graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    aliases: dict[str, str] = {}
    quantized: dict[str, str] = {}
    never_negative: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    named = lambda name: aliases.get(name, name)
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            source = named(node.input[0])
            zero = values[node.input[2]] if len(node.input) > 2 else np.zeros(1, np.uint8)
            if zero.dtype == np.uint8 and not zero.any() and source not in never_negative:
                rectified = f"{source}_rectified"
                if rectified not in never_negative:
                    nodes.append(helper.make_node("Relu", [source], [rectified]))
                    never_negative.add(rectified)
                source = rectified
            quantized[node.output[0]] = source
        elif node.op_type == "DequantizeLinear" and node.input[0] in values:
            axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
            values[node.output[0]] = dequantized(*(values.get(name) for name in node.input), axis=axis)
        elif node.op_type == "DequantizeLinear" and named(node.input[0]) in quantized:
            aliases[node.output[0]] = quantized[named(node.input[0])]
        else:
            inputs = [named(name) for name in node.input]
            keeps = node.op_type in KEEPS_SIGN and inputs[0] in never_negative
            if node.op_type == "Relu" or keeps or (node.op_type == "Add" and set(inputs) <= never_negative):
                never_negative.update(node.output)
            del node.input[:]
            node.input.extend(inputs)
            nodes.append(node)
    # The graph's own outputs keep their names.
    for output in graph.output:
        if output.name in aliases:
            nodes.append(helper.make_node("Identity", [aliases[output.name]], [output.name]))
    used = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items() if name in used)
    onnx.checker.check_model(model)
    return model


def dequantized(weight: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, axis: int = 1) -> np.ndarray:
    """f32 of what DequantizeLinear would give."""
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)] if scale.ndim == 1 and scale.size > 1 else []
    zeros = 0 if zero is None else zero.astype(np.float32).reshape(shape or zero.shape)
    return ((weight.astype(np.float32) - zeros) * scale.reshape(shape or scale.shape)).astype(np.float32)


class OnnxNetwork(nn.Module):
    """Runs a float graph node by node; its weights are parameters. One input, one output."""

    def __init__(self, model: onnx.ModelProto):
        super().__init__()
        self.model = model
        self.names: dict[str, str] = {}
        for index, one in enumerate(model.graph.initializer):
            value = torch.from_numpy(numpy_helper.to_array(one).copy())
            self.names[one.name] = f"w{index}"
            if value.is_floating_point() and value.ndim > 0:
                self.register_parameter(f"w{index}", nn.Parameter(value))
            else:
                self.register_buffer(f"w{index}", value)
        unknown = {node.op_type for node in model.graph.node} - OPERATORS.keys()
        if unknown:
            raise SystemExit(f"this recipe does not know how to train a graph with {', '.join(sorted(unknown))}")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {self.model.graph.input[0].name: x}
        values |= {name: getattr(self, inner) for name, inner in self.names.items()}
        for node in self.model.graph.node:
            attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            given = [values[name] if name else None for name in node.input]
            values[node.output[0]] = OPERATORS[node.op_type](given, attributes)
        return values[self.model.graph.output[0].name]

    def write(self, path: Path) -> None:
        """The graph with the weights as they are now."""
        written = onnx.ModelProto()
        written.CopyFrom(self.model)
        for one in written.graph.initializer:
            one.CopyFrom(numpy_helper.from_array(getattr(self, self.names[one.name]).detach().cpu().numpy(), one.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(written, path)


def _padded(x: torch.Tensor, attributes: dict, value: float) -> tuple[torch.Tensor, int | tuple[int, int]]:
    """The input, and the padding that torch can do itself; what is uneven is done here."""
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) == (bottom, right):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom), value=value), 0


def _conv(given, attributes):
    x, padding = _padded(given[0], attributes, 0.0)
    bias = given[2] if len(given) > 2 else None
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return functional.conv2d(x, given[1], bias, strides, padding, dilations, attributes.get("group", 1))


def _max_pool(given, attributes):
    x, padding = _padded(given[0], attributes, float("-inf"))
    kernel = attributes["kernel_shape"]
    return functional.max_pool2d(x, kernel, attributes.get("strides", [1, 1]), padding, ceil_mode=bool(attributes.get("ceil_mode", 0)))


def _average_pool(given, attributes):
    x, padding = _padded(given[0], attributes, 0.0)
    counts = bool(attributes.get("count_include_pad", 0))
    return functional.avg_pool2d(x, attributes["kernel_shape"], attributes.get("strides", [1, 1]), padding, count_include_pad=counts)


def _gemm(given, attributes):
    a = given[0].T if attributes.get("transA") else given[0]
    b = given[1].T if attributes.get("transB") else given[1]
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if len(given) < 3 else product + attributes.get("beta", 1.0) * given[2]


def _clip(given, attributes):
    low, high = (one if one is None else one.item() for one in [*given[1:], None, None][:2])
    return given[0].clamp(low, high)


def _batch_norm(given, attributes):
    x, scale, bias, mean, variance = given
    return functional.batch_norm(x, mean.detach(), variance.detach(), scale, bias, False, 0.0, attributes.get("epsilon", 1e-5))


OPERATORS = {
    "Add": lambda given, _: given[0] + given[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda given, a: torch.cat(given, a["axis"]),
    "Conv": _conv,
    "Div": lambda given, _: given[0] / given[1],
    "Flatten": lambda given, a: given[0].flatten(a.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda given, _: given[0].mean((2, 3), keepdim=True),
    "HardSigmoid": lambda given, a: (given[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda given, _: functional.hardswish(given[0]),
    "Identity": lambda given, _: given[0],
    "MatMul": lambda given, _: given[0] @ given[1],
    "MaxPool": _max_pool,
    "Mul": lambda given, _: given[0] * given[1],
    "Relu": lambda given, _: functional.relu(given[0]),
    "Reshape": lambda given, _: given[0].reshape([given[0].shape[i] if n == 0 else n for i, n in enumerate(given[1].tolist())]),
    "Sigmoid": lambda given, _: torch.sigmoid(given[0]),
    "Sub": lambda given, _: given[0] - given[1],
}
