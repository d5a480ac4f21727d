"""Builds models/basicmotions-cnn and models/basicmotions-transformer: what somebody with a smart watch is doing.

The data are small, 40 windows to train on and 40 to measure on, so each network also is trained five times on four fifths of
the former, and measured on the rest: the figures of both stand on the cards.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from outrider_recipes.basicmotions import CHANNELS, LABELS, LENGTH, RATE, augmented, load
from outrider_recipes.folder import CLOUD_BATCH, label_names, label_scores, write_model_folder
from outrider_recipes.onnx_files import OnnxModel, export, quantize_static_u8s8, store_int8_weights
from outrider_recipes.run import accuracy, agreement, parse_arguments, save_figures, seed_everything

CNN, TRANSFORMER = "basicmotions-cnn", "basicmotions-transformer"
STEPS, COPIES, RATE_OF_LEARNING, FOLDS, PATCH = 300, 4, 2e-3, 5, 5


class Patches(nn.Module):
    """f32[N,6,100] -> f32[N,4]: patches of half a second, three layers of attention over them, their mean."""

    def __init__(self, width: int = 64, layers: int = 3):
        super().__init__()
        self.embed = nn.Conv1d(len(CHANNELS), width, PATCH, stride=PATCH)
        self.place = nn.Parameter(torch.randn(1, LENGTH // PATCH, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.ModuleList([layer] + [type(layer)(width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True) for _ in range(layers - 1)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(LABELS)))

    def forward(self, values):
        hidden = self.embed(values).transpose(1, 2) + self.place
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden.mean(1))


def build_cnn() -> nn.Module:
    """f32[N,6,100] -> f32[N,4]: three convolutions over time, their mean."""

    def block(inner: int, outer: int, size: int, stride: int) -> list[nn.Module]:
        return [nn.Conv1d(inner, outer, size, stride, size // 2), nn.BatchNorm1d(outer), nn.ReLU()]

    return nn.Sequential(
        *block(len(CHANNELS), 24, 7, 2), *block(24, 32, 5, 2), *block(32, 48, 3, 1), nn.Dropout(0.2),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, len(LABELS)),
    )  # fmt: skip


BUILDERS = {CNN: build_cnn, TRANSFORMER: Patches}


def scaling_of(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation f32[6] of each channel."""
    return windows.mean((0, 2)), windows.std((0, 2))


def train(name: str, windows: np.ndarray, labels: np.ndarray) -> nn.Module:
    seed_everything()
    rng = np.random.default_rng(0)
    mean, std = scaling_of(windows)
    network = BUILDERS[name]().train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE_OF_LEARNING, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, total_steps=STEPS)
    targets = torch.from_numpy(np.tile(labels, COPIES))
    for _ in range(STEPS):
        moved = augmented(np.tile(windows, (COPIES, 1, 1)), rng)
        inputs = torch.from_numpy((moved - mean[:, None]) / std[:, None])
        loss = nn.functional.cross_entropy(network(inputs), targets, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def fold_accuracy(name: str, windows: np.ndarray, labels: np.ndarray) -> float:
    """Of five networks, each on the fifth that it has not seen; windows of a kind lie beside each other."""
    hits = 0
    for fold in range(FOLDS):
        out = np.arange(len(labels)) % FOLDS == fold
        network = train(name, windows[~out], labels[~out])
        mean, std = scaling_of(windows[~out])
        with torch.no_grad():
            logits = network(torch.from_numpy((windows[out] - mean[:, None]) / std[:, None]))
        hits += (logits.argmax(1).numpy() == labels[out]).sum()
    return float(hits / len(labels))


def write(name: str, models: Path, source: Path, scaling: tuple[np.ndarray, np.ndarray], tests: np.ndarray, spec: dict):
    folder = models / name
    mean, std = scaling
    network = OnnxModel(source, fold=spec.get("foldDequantize", False))
    golden = []
    for number, window in enumerate(tests, start=1):
        path = f"golden/{number}.json"
        # A window as a device sends it: time first.
        write_window(folder / path, window.T)
        logits = network.logits(values=((window - mean[:, None]) / std[:, None])[None])[0]
        golden.append({"input": {"file": path}, "output": label_scores(logits, LABELS)})
    write_model_folder(
        folder,
        spec={"task": "time-series-classification", "batch": CLOUD_BATCH, **spec},
        documents={
            "config.json": {"model_type": name, **label_names(LABELS)},
            "preprocessor_config.json": {
                "layout": "channels-first",
                "feature_size": len(CHANNELS),
                "feature_names": CHANNELS,
                "sampling_rate": RATE,
                "max_length": LENGTH,
                "min_length": LENGTH // 2,
                "mean": [round(float(value), 6) for value in mean],
                "std": [round(float(value), 6) for value in std],
            },
        },
        golden=golden,
    )


def write_window(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(str([round(float(value), 6) for value in row]) for row in rows)
    path.write_text(f'{{"rate": {RATE}, "values": [\n{lines}\n]}}\n')


def write_demo(path: Path, windows: np.ndarray) -> None:
    """What a watch would say, line after line."""
    rows = (",".join(f"{value:.4f}" for value in row) for window in windows for row in window.T)
    path.write_text("\n".join([",".join(CHANNELS), *rows]) + "\n")


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0])
    windows, labels = load(arguments.data, "TRAIN")
    tests, answers = load(arguments.data, "TEST")
    scaling = scaling_of(windows)
    mean, std = (part[:, None] for part in scaling)
    golden = tests[[0, 10, 20, 30, 5, 35]]
    answered = {}
    for name in (TRANSFORMER, CNN):
        folds = fold_accuracy(name, windows, labels)
        network = train(name, windows, labels)
        float_file, file = arguments.out / name / "model.onnx", arguments.models / name / "onnx" / "model_quantized.onnx"
        axes = {"values": {0: "batch"}, "logits": {0: "batch"}}
        export(network, float_file, {"values": torch.zeros(2, len(CHANNELS), LENGTH)}, axes)
        if name == CNN:
            quantize_static_u8s8(float_file, file, ({"values": (window - mean)[None] / std} for window in windows))
            spec = {"precision": "int8-static"}
        else:
            store_int8_weights(float_file, file)
            spec = {"precision": "int8-weights", "foldDequantize": True}
        write(name, arguments.models, file, scaling, golden, spec)
        inputs = (tests - mean) / std
        float_logits = OnnxModel(float_file).logits(values=inputs)
        answered[name] = OnnxModel(file, fold=name != CNN).logits(values=inputs)
        figures = {
            "trainedOn": len(labels),
            "foldAccuracy": folds,
            "measuredOn": len(answers),
            "floatAccuracy": accuracy(float_logits, answers),
            "int8Accuracy": accuracy(answered[name], answers),
            "bytes": file.stat().st_size,
            "weights": sum(part.numel() for part in network.parameters()),
        }
        save_figures(arguments.out, name, figures)
    save_figures(arguments.out, "pair", {"agreement": agreement(answered[CNN], answered[TRANSFORMER])})
    write_demo(arguments.models / "demo" / "motions.csv", tests[[0, 12, 22, 32, 3, 25]])


if __name__ == "__main__":
    main()
