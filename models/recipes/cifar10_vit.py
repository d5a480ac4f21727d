"""Builds models/cifar10-vit: EfficientNet-Lite0 trunk and a Transformer encoder, int8 weights and float compute."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from outrider_recipes import cifar10, efficientnet_lite
from outrider_recipes.dropout import replace_dropout
from outrider_recipes.folder import MODEL_FILE
from outrider_recipes.onnx_files import store_int8_weights
from outrider_recipes.picture_models import export_picture_model, measure, write_picture_folder
from outrider_recipes.run import parse_arguments, save_figures, seed_everything
from outrider_recipes.training import Training, in_bf16, training_device

NAME = "cifar10-vit"
# EfficientNet-Lite was trained on (x - 127) / 128.
NORMALIZATION = cifar10.Normalization(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
TRUNK_PX = 160
EPOCHS = 67
WIDTH, LAYERS, HEADS = 192, 4, 3
BATCH = 256
TRUNK_RATE = 6e-4
ENCODER_RATE = 1.2e-3
# The share of pictures for which the last block is left out; for the blocks before it less, in a line.
DROP_PATH = 0.2
# Of the batches, this share gets a rectangle of another picture, the others are blended in shares drawn from Beta(this, this).
CUT_MIX = 0.5
MIX_UP = 0.3


def plain_convolutions(module: nn.Module) -> None:
    """Where the padding is even on all sides the convolution does it itself."""
    for convolution in module.modules():
        padding = getattr(convolution, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            convolution.padding = (padding.padding[0], padding.padding[0])
            convolution.static_padding = nn.Identity()


class HybridVit(nn.Module):
    """f32[N,3,P,P] -> f32[N,10]; P: 32, or TRUNK_PX for pictures that are up-sampled already."""

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk
        trunk._conv_head = trunk._bn1 = trunk._fc = nn.Identity()
        self.project = nn.Linear(320, WIDTH)
        self.first_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.randn(1, (TRUNK_PX // 32) ** 2, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        replace_dropout(self.encoder)
        self.classifier = nn.Linear(WIDTH, len(cifar10.LABELS))

    def encoder_parameters(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("trunk.")]

    def forward(self, pixel_values):
        size = (TRUNK_PX, TRUNK_PX)
        x = functional.interpolate(pixel_values, size=size, mode="bilinear", align_corners=False)
        x = functional.relu6(self.trunk._bn0(self.trunk._conv_stem(x)))
        blocks = self.trunk._blocks
        for index, block in enumerate(blocks):
            x = block(x, DROP_PATH * index / len(blocks))
        tokens = self.project(x.flatten(2).transpose(1, 2)) + self.positions
        tokens = torch.cat([self.first_token.expand(tokens.shape[0], -1, -1), tokens], 1)
        return self.classifier(self.encoder(tokens)[:, 0])


def augment(pixels: torch.Tensor) -> torch.Tensor:
    """Changes colour and contrast of f32[N,3,32,32]; mirrors, turns, stretches, shifts and up-samples it, in one step."""
    count = len(pixels)

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, device=pixels.device) * (high - low) + low

    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * between(0.7, 1.3, 1, 1, 1)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = mean + (pixels - mean) * between(0.8, 1.2, 1, 1, 1) + between(-0.2, 0.2, 1, 1, 1)
    zoom, stretch = between(0.8, 1.1), torch.exp(between(-0.1, 0.1))
    angle = between(-0.2, 0.2) * (between(0, 1) < 0.5)
    mirror = torch.where(between(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [[cos * stretch * mirror, -sin, between(-0.25, 0.25)], [sin * mirror, cos / stretch, between(-0.25, 0.25)]]
    matrices = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = functional.affine_grid(matrices, (count, 3, TRUNK_PX, TRUNK_PX), align_corners=False)
    return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def mix(pixels: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Returns (f32[N,3,P,P] with something of another picture in each, the share that is its own, which the other was)."""
    others = torch.from_numpy(rng.permutation(len(pixels))).to(pixels.device)
    if rng.random() >= CUT_MIX:
        share = rng.beta(MIX_UP, MIX_UP)
        return share * pixels + (1 - share) * pixels[others], share, others
    size_px = pixels.shape[-1]
    half = int(size_px * np.sqrt(rng.random())) // 2
    y, x = rng.integers(0, size_px, 2)
    rows, columns = slice(max(y - half, 0), y + half), slice(max(x - half, 0), x + half)
    mixed = pixels.clone()
    mixed[:, :, rows, columns] = pixels[others][:, :, rows, columns]
    return mixed, 1 - mixed[0, 0, rows, columns].numel() / size_px**2, others


def train(model: HybridVit, pictures: cifar10.Pictures, out: Path) -> None:
    device = training_device()
    model.to(device, memory_format=torch.channels_last)
    pixels = torch.from_numpy(NORMALIZATION.apply(pictures.pixels)).to(device)
    labels = torch.from_numpy(pictures.labels).to(device)
    steps = len(pictures) // BATCH
    optimizer = torch.optim.AdamW(
        [{"params": model.trunk.parameters()}, {"params": model.encoder_parameters()}], weight_decay=0.05, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [TRUNK_RATE, ENCODER_RATE], total_steps=EPOCHS * steps, pct_start=0.12
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    training = Training(out / f"{NAME}.pt", model, optimizer, schedule, EPOCHS, clip=2.0)
    answer = in_bf16(model, augment(pixels[:BATCH]))
    for epoch in training.epochs():
        rng = np.random.default_rng(epoch)
        order = torch.from_numpy(rng.permutation(len(pictures))).to(device)
        for indices in order[: steps * BATCH].split(BATCH):
            mixed, share, others = mix(augment(pixels[indices]), rng)
            logits, targets = answer(mixed), labels[indices]
            training.step(share * loss_of(logits, targets) + (1 - share) * loss_of(logits, targets[others]))
    model.to("cpu", memory_format=torch.contiguous_format)


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = cifar10.load_train(arguments.data, arguments.out)
    val, demo = cifar10.load_val(arguments.data, arguments.out)
    trunk = efficientnet_lite.load(0)
    plain_convolutions(trunk)
    seed_everything()
    model = HybridVit(trunk)
    train(model, training, arguments.out)

    float_file = arguments.out / NAME / "model.onnx"
    export_picture_model(model, float_file)
    folder = arguments.models / NAME
    int8_file = folder / MODEL_FILE
    store_int8_weights(float_file, int8_file)
    figures = {"trainedOn": len(training), "heldOut": len(held_out)}
    figures |= measure(float_file, int8_file, val, NORMALIZATION, arguments.threads, fold=True)
    save_figures(arguments.out, NAME, figures)
    write_picture_folder(
        folder,
        arguments.data,
        int8_file,
        demo,
        NORMALIZATION,
        arguments.threads,
        spec={"precision": "int8-weights", "foldDequantize": True},
        config={
            "architectures": ["HybridViTForImageClassification"],
            "model_type": "hybrid-vit",
            "hidden_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
        },
    )


if __name__ == "__main__":
    main()
