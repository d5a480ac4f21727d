"""What the two picture recipes do alike: run an ONNX file over pictures, measure it, write its folder."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from . import cifar10
from .folder import CLOUD_BATCH, label_names, label_scores, write_json, write_model_folder
from .onnx_files import OnnxModel, export
from .run import compare_files

# One demo picture of each of these classes becomes a golden input.
GOLDEN_CLASSES = ["airplane", "automobile", "bird", "cat", "frog", "ship"]


def picture_logits(
    path: Path, pixels: np.ndarray, normalization: cifar10.Normalization, threads: int, fold: bool = False
) -> np.ndarray:
    """f32[N,10] for u8[N,32,32,3]."""
    model = OnnxModel(path, threads, fold)
    batches = (normalization.apply(pixels[start : start + 100]) for start in range(0, len(pixels), 100))
    return np.concatenate([model.logits(pixel_values=batch) for batch in batches])


def export_picture_model(model: torch.nn.Module, path: Path) -> None:
    axes = {"pixel_values": {0: "batch"}, "logits": {0: "batch"}}
    export(model, path, {"pixel_values": torch.zeros(2, 3, 32, 32)}, axes)


def measure(
    float_file: Path, int8_file: Path, val: cifar10.Pictures, normalization: cifar10.Normalization, threads: int, fold: bool
) -> dict:
    float_logits = picture_logits(float_file, val.pixels, normalization, threads)
    int8_logits = picture_logits(int8_file, val.pixels, normalization, threads, fold)
    return compare_files(float_logits, int8_logits, val.labels, int8_file)


def write_picture_folder(
    folder: Path,
    data: Path,
    int8_file: Path,
    demo: cifar10.Pictures,
    normalization: cifar10.Normalization,
    threads: int,
    spec: dict,
    config: dict,
) -> None:
    """Writes the folder around `int8_file`; its golden pictures are demo pictures, byte by byte."""
    golden = []
    with zipfile.ZipFile(data / "cifar10-val.zip") as archive:
        (folder / "golden").mkdir(parents=True, exist_ok=True)
        for number, label in enumerate(GOLDEN_CLASSES, start=1):
            index = next(i for i, identifier in enumerate(demo.ids) if identifier.startswith(f"{label}/"))
            path = f"golden/{number}.jpg"
            (folder / path).write_bytes(archive.read(str(demo.ids[index])))
            fold = spec.get("foldDequantize", False)
            logits = picture_logits(int8_file, demo.pixels[index : index + 1], normalization, threads, fold)[0]
            golden.append({"input": {"file": path}, "output": label_scores(logits, cifar10.LABELS)})
    write_json(folder / "preprocessor_config.json", normalization.preprocessor_config())
    write_model_folder(
        folder,
        spec={"task": "image-classification", "batch": CLOUD_BATCH} | spec,
        documents={
            "config.json": config | {"image_size": 32, "num_channels": 3} | label_names(cifar10.LABELS),
            "preprocessor_config.json": normalization.preprocessor_config(),
        },
        golden=golden,
    )
