"""Halves a static int8 model's weights to seven bits, for when its float parent isn't at hand, as cifar10-cnn's wasn't.

A rebuild needs no such step: `quantize_static_u8s8` gives seven bits, and says why. The temperature and the certificate
belonged to the old weights and are dropped; calibrate.ts, golden.ts and certify.ts make the next.

python models/recipes/requantize_7bit.py models/cifar10-cnn
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from outrider_recipes.folder import MODEL_FILE, write_json

# What reduce_range gives a symmetric int8 weight: -64..64.
LARGEST = 64


def halve_weights(model: onnx.ModelProto) -> None:
    """Halves every int8 weight and every int32 bias and doubles its scale; activations stay as they are.

    A bias has the scale of its activation times that of its weight, so it must follow.
    """
    initializers = {initializer.name: initializer for initializer in model.graph.initializer}
    inputs = [
        node.input
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in initializers
    ]
    arrays = {name: numpy_helper.to_array(initializers[name]) for names in inputs for name in names}
    changed = [name for values, scale, _ in inputs for name in (values, scale)]
    if len(changed) != len(set(changed)) or any(arrays[zero].any() for _, _, zero in inputs):
        raise SystemExit("a shared scale or a zero point: this script isn't made for that")
    weights = [arrays[values] for values, _, _ in inputs if arrays[values].dtype == np.int8]
    if all(np.abs(weight.astype(int)).max() <= LARGEST for weight in weights):
        raise SystemExit("every weight has seven bits already")
    for values, scale, _ in inputs:
        # Every odd value is a tie; rint goes to the even neighbour, so that they don't all go the same way.
        half = np.rint(arrays[values] / 2).astype(arrays[values].dtype)
        initializers[values].CopyFrom(numpy_helper.from_array(half, values))
        initializers[scale].CopyFrom(numpy_helper.from_array(arrays[scale] * np.float32(2), scale))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a model folder; changed in place")
    folder = parser.parse_args().folder
    file = folder / MODEL_FILE
    model = onnx.load(file)
    halve_weights(model)
    onnx.checker.check_model(model)
    onnx.save(model, file)

    spec = json.loads((folder / "outrider.json").read_text(encoding="utf-8"))
    spec.pop("calibration", None)
    spec["files"][MODEL_FILE] = hashlib.sha256(file.read_bytes()).hexdigest()
    write_json(folder / "outrider.json", spec)


if __name__ == "__main__":
    main()
