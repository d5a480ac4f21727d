"""Builds models/mnist-cnn: handwritten digits. The shortest recipe: from a sketch in Keras to a model for an agent.

    keras.Sequential([
        keras.Input((28, 28, 1)),
        Conv2D(24, 3, padding="same"), BatchNormalization(), ReLU(), MaxPooling2D(),
        Conv2D(48, 3, padding="same"), BatchNormalization(), ReLU(), MaxPooling2D(),
        Flatten(), Dropout(0.3), Dense(64), ReLU(), Dense(10),
    ])

A Keras model of your own takes the same way from step 3 on: `model.export("model.onnx", format="onnx")`, with its input named
`pixel_values` and made f32[N,3,H,W] by a Permute layer (Keras keeps the colours last, a picture's runner puts them first).
"""

import gzip
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from outrider_recipes.folder import CLOUD_BATCH, label_names, label_scores, write_model_folder
from outrider_recipes.onnx_files import OnnxModel, export, quantize_static_u8s8
from outrider_recipes.run import compare_files, parse_arguments, save_figures
from outrider_recipes.training import Training

NAME = "mnist-cnn"
LABELS = [str(digit) for digit in range(10)]
EPOCHS, BATCH, RATE, SHIFT_PX = 12, 64, 3e-3, 2


class Grey(nn.Module):
    """A runner gives every picture three colours, f32[N,3,28,28]; this makes them one, f32[N,1,28,28]."""

    def forward(self, pixel_values):
        return pixel_values.mean(1, keepdim=True)


def build_network() -> nn.Module:
    """1. The network, layer for layer."""
    return nn.Sequential(
        Grey(),
        *(nn.Conv2d(1, 24, 3, padding="same"), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 3, padding="same"), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def load(data: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures u8[N,28,28] and digits i64[N] from MNIST's IDX files, whose headers have 16 and 8 bytes."""
    pixels = gzip.decompress((data / "mnist" / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    digits = gzip.decompress((data / "mnist" / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28), np.frombuffer(digits, np.uint8).astype(np.int64)


def to_input(pictures: np.ndarray) -> np.ndarray:
    """u8[N,28,28] -> f32[N,3,28,28] 0..1, what preprocessor_config.json makes of a picture."""
    return np.repeat(pictures[:, None], 3, 1).astype(np.float32) / 255


def train(network: nn.Module, pictures: np.ndarray, digits: np.ndarray, out: Path) -> None:
    """2. Like `model.fit`: shuffled batches, each picture moved by up to 2 px."""
    steps = EPOCHS * (len(pictures) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    training = Training(out / f"{NAME}.pt", network, optimizer, schedule, EPOCHS, clip=None)
    for _ in training.epochs():
        for indices in np.random.permutation(len(pictures))[: steps // EPOCHS * BATCH].reshape(-1, BATCH):
            moved = [np.roll(pictures[i], np.random.randint(-SHIFT_PX, SHIFT_PX + 1, 2), (0, 1)) for i in indices]
            logits = network(torch.from_numpy(to_input(np.stack(moved))))
            training.step(nn.functional.cross_entropy(logits, torch.from_numpy(digits[indices])))


def write_golden(folder: Path, int8_file: Path, pictures: np.ndarray) -> list[dict]:
    """Six pictures with the answers that a device must give before it takes the model."""
    golden = []
    for number, picture in enumerate(pictures, start=1):
        path = f"golden/{number}.png"
        (folder / "golden").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / path)
        logits = OnnxModel(int8_file).logits(pixel_values=to_input(picture[None]))[0]
        golden.append({"input": {"file": path}, "output": label_scores(logits, LABELS)})
    return golden


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0])
    pictures, digits = load(arguments.data, "train")
    val_pictures, val_digits = load(arguments.data, "val")
    network = build_network()
    train(network, pictures, digits, arguments.out)

    # 3. One ONNX file, its weights and activations then made int8.
    folder = arguments.models / NAME
    float_file, int8_file = arguments.out / NAME / "model.onnx", folder / "onnx" / "model_quantized.onnx"
    axes = {"pixel_values": {0: "batch"}, "logits": {0: "batch"}}
    export(network, float_file, {"pixel_values": torch.zeros(2, 3, 28, 28)}, axes)
    quantize_static_u8s8(float_file, int8_file, ({"pixel_values": to_input(p[None])} for p in pictures[:500]))
    float_logits = OnnxModel(float_file).logits(pixel_values=to_input(val_pictures))
    int8_logits = OnnxModel(int8_file).logits(pixel_values=to_input(val_pictures))
    figures = compare_files(float_logits, int8_logits, val_digits, int8_file)
    save_figures(arguments.out, NAME, {"trainedOn": len(pictures)} | figures)

    # 4. The folder: what the model is called, how a picture becomes its input, what its outputs mean.
    write_model_folder(
        folder,
        spec={"task": "image-classification", "precision": "int8-static", "batch": CLOUD_BATCH},
        documents={
            "config.json": {
                "architectures": ["CnnForImageClassification"],
                "model_type": "mnist-cnn",
                "image_size": 28,
                "num_channels": 3,
                **label_names(LABELS),
            },
            "preprocessor_config.json": {
                "image_processor_type": "ViTImageProcessor",
                "do_convert_rgb": True,
                "do_resize": True,
                "size": {"height": 28, "width": 28},
                "resample": 2,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": False,
            },
        },
        golden=write_golden(folder, int8_file, val_pictures[:6]),
    )


if __name__ == "__main__":
    main()
