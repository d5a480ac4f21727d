"""Builds models/cifar10-cnn: a small residual network that learns from cifar10-vit's answers too, static int8."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

import cifar10_vit
from outrider_recipes import cifar10
from outrider_recipes.folder import MODEL_FILE
from outrider_recipes.onnx_files import quantize_static_u8s8
from outrider_recipes.picture_models import export_picture_model, measure, picture_logits, write_picture_folder
from outrider_recipes.run import cached, log, parse_arguments, save_figures, seed_everything
from outrider_recipes.training import Training, in_bf16, training_device

NAME = "cifar10-cnn"
NORMALIZATION = cifar10.Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))
WIDTH = 32
EPOCHS = 45
# Then these with whole pictures.
LAST_EPOCHS = 3
BATCH = 128
PEAK_RATE = 0.1
LAST_RATE = 0.005
SHIFT_PX = 4
HOLE_PX = 8
# Half of the loss imitates the teacher's logits divided by this, the other half is the label's.
TEMPERATURE = 3.0
CALIBRATION_PICTURES = 500


class Convolution(nn.Sequential):
    """3x3 convolution, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    """Two convolutions that add to what they are given."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(Convolution(width, width), Convolution(width, width))

    def forward(self, x):
        return x + self.body(x)


def build_network() -> nn.Module:
    """f32[N,3,32,32] -> f32[N,10]; halves the picture three times, so that little is computed at 32 px."""
    return nn.Sequential(
        Convolution(3, WIDTH),
        Convolution(WIDTH, 2 * WIDTH),
        nn.MaxPool2d(2),
        Residual(2 * WIDTH),
        Convolution(2 * WIDTH, 4 * WIDTH),
        nn.MaxPool2d(2),
        Convolution(4 * WIDTH, 4 * WIDTH),
        nn.MaxPool2d(2),
        Residual(4 * WIDTH),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * WIDTH, len(cifar10.LABELS)),
    )


def learn_from_teacher(pictures: cifar10.Pictures, out: Path, models: Path, threads: int) -> np.ndarray:
    """The teacher's logits f32[N,10], kept in --out."""
    file = models / cifar10_vit.NAME / MODEL_FILE

    def ask() -> np.ndarray:
        if not file.exists():
            raise SystemExit(f"run {cifar10_vit.NAME} first, with the same --models")
        log("asks the teacher")
        return picture_logits(file, pictures.pixels, cifar10_vit.NORMALIZATION, threads, fold=True)

    return cached(out / f"{NAME}.teacher.npy", len(pictures), ask)


def augment(pixels: torch.Tensor, hole_px: int) -> torch.Tensor:
    """f32[N,3,32,32], half mirrored, each shifted by up to SHIFT_PX, edges reflected, a square of hole_px blank."""
    count, device = len(pixels), pixels.device
    mirrored = torch.rand(count, 1, 1, 1, device=device) < 0.5
    pixels = torch.where(mirrored, pixels.flip(3), pixels)
    shifted = nn.functional.pad(pixels, (SHIFT_PX,) * 4, mode="reflect").unfold(2, 32, 1).unfold(3, 32, 1)
    y, x = torch.randint(0, 2 * SHIFT_PX + 1, (2, count), device=device)
    pixels = shifted[torch.arange(count, device=device), :, y, x]
    y, x = torch.randint(0, 33 - hole_px, (2, count, 1), device=device)
    line = torch.arange(32, device=device)
    rows, columns = ((line >= start) & (line < start + hole_px) for start in (y, x))
    return pixels.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def train(network: nn.Module, pictures: cifar10.Pictures, teacher: np.ndarray, out: Path) -> None:
    device = training_device()
    steps = len(pictures) // BATCH
    network.to(device, memory_format=torch.channels_last)
    pixels = torch.from_numpy(NORMALIZATION.apply(pictures.pixels)).to(device)
    soft = torch.softmax(torch.from_numpy(teacher).to(device) / TEMPERATURE, 1)
    hard = torch.from_numpy(pictures.labels).to(device)

    answer = in_bf16(network, augment(pixels[:BATCH], HOLE_PX))

    def run(training: Training, hole_px: int) -> None:
        for _ in training.epochs():
            order = torch.randperm(len(pictures)).to(device)
            for indices in order[: steps * BATCH].split(BATCH):
                logits = answer(augment(pixels[indices], hole_px))
                label_loss = nn.functional.cross_entropy(logits, hard[indices])
                teacher_loss = nn.functional.cross_entropy(logits / TEMPERATURE, soft[indices]) * TEMPERATURE
                training.step(0.5 * label_loss + 0.5 * teacher_loss)

    def optimizer(rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=5e-4)

    first, last = optimizer(PEAK_RATE), optimizer(LAST_RATE)
    rise_and_fall = torch.optim.lr_scheduler.OneCycleLR(first, PEAK_RATE, total_steps=EPOCHS * steps, pct_start=0.2)
    run(Training(out / f"{NAME}.pt", network, first, rise_and_fall, EPOCHS, clip=None), HOLE_PX)
    fall = torch.optim.lr_scheduler.LinearLR(last, 1.0, 0.0, LAST_EPOCHS * steps)
    run(Training(out / f"{NAME}.last.pt", network, last, fall, LAST_EPOCHS, clip=None), 0)
    network.to("cpu", memory_format=torch.contiguous_format)


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = cifar10.load_train(arguments.data, arguments.out)
    val, demo = cifar10.load_val(arguments.data, arguments.out)
    teacher = learn_from_teacher(training, arguments.out, arguments.models, arguments.threads)
    seed_everything()
    network = build_network()
    train(network, training, teacher, arguments.out)

    float_file = arguments.out / NAME / "model.onnx"
    export_picture_model(network, float_file)
    folder = arguments.models / NAME
    int8_file = folder / MODEL_FILE
    chosen = np.random.default_rng(0).permutation(len(training))[:CALIBRATION_PICTURES]
    samples = ({"pixel_values": NORMALIZATION.apply(training.pixels[index : index + 1])} for index in chosen)
    quantize_static_u8s8(float_file, int8_file, samples)
    figures = {"trainedOn": len(training), "heldOut": len(held_out)}
    figures |= measure(float_file, int8_file, val, NORMALIZATION, arguments.threads, fold=False)
    save_figures(arguments.out, NAME, figures)
    write_picture_folder(
        folder,
        arguments.data,
        int8_file,
        demo,
        NORMALIZATION,
        arguments.threads,
        spec={"precision": "int8-static"},
        config={"architectures": ["ResidualCnnForImageClassification"], "model_type": "residual-cnn", "hidden_size": 4 * WIDTH},
    )


if __name__ == "__main__":
    main()
