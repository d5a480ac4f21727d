"""Builds models/cifar10-vit: EfficientNet-Lite0 trunk and a Transformer encoder, int8 weights and float compute."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from outrider_recipes import cifar10, efficientnet_lite, fused_trunk
from outrider_recipes.dropout import replace_dropout
from outrider_recipes.folder import MODEL_FILE
from outrider_recipes.onnx_files import store_int8_weights
from outrider_recipes.picture_models import export_picture_model, measure, write_picture_folder
from outrider_recipes.run import log, parse_arguments, save_figures, seed_everything
from outrider_recipes.training import Training

NAME = "cifar10-vit"
# EfficientNet-Lite was trained on (x - 127) / 128.
NORMALIZATION = cifar10.Normalization(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
TRUNK_PX = 160
# (epochs, pixels that the pictures are up-sampled to): the small ones cost half.
SCHEDULE = [(9, 128), (4, TRUNK_PX)]
FROZEN_BLOCKS = 3
WIDTH, LAYERS, HEADS = 192, 4, 3
BATCH = 64
TRUNK_RATE = 2.5e-4
ENCODER_RATE = 6e-4
# The share of pictures for which the last block is left out; for the blocks before it less, in a line.
DROP_PATH = 0.15
# Of the batches, this share gets a rectangle of another picture, the others are blended in shares drawn from Beta(this, this).
CUT_MIX = 0.4
MIX_UP = 0.2


def plain_convolutions(module: nn.Module) -> None:
    """Where the padding is even on all sides the convolution does it itself."""
    for convolution in module.modules():
        padding = getattr(convolution, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            convolution.padding = (padding.padding[0], padding.padding[0])
            convolution.static_padding = nn.Identity()


def upsample(pixels: torch.Tensor, size_px: int) -> torch.Tensor:
    return functional.interpolate(pixels, size=(size_px, size_px), mode="bilinear", align_corners=False)


class HybridVit(nn.Module):
    """f32[N,3,32,32] -> f32[N,10]. The trunk's statistics, stem and first blocks are not trained."""

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk
        trunk._conv_head = trunk._bn1 = trunk._fc = nn.Identity()
        for part in (trunk._conv_stem, trunk._bn0, *trunk._blocks[:FROZEN_BLOCKS]):
            part.requires_grad_(False)
        side = TRUNK_PX // 32
        self.project = nn.Linear(320, WIDTH)
        self.first_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.randn(1, WIDTH, side, side) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        replace_dropout(self.encoder)
        self.classifier = nn.Linear(WIDTH, len(cifar10.LABELS))

    def trunk_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.trunk.parameters() if parameter.requires_grad]

    def encoder_parameters(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("trunk.")]

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """f32[N,3,P,P] -> f32[N,320,P/32,P/32], module by module: for the export and for new statistics."""
        x = functional.relu6(self.trunk._bn0(self.trunk._conv_stem(pixels)))
        for block in self.trunk._blocks:
            x = block(x)
        return x

    def fused_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same in bf16, for training."""
        blocks = self.trunk._blocks
        with torch.no_grad():
            x, before = fused_trunk.stem(self.trunk, pixels)
            for block in blocks[:FROZEN_BLOCKS]:
                x = fused_trunk.block(block, x, before)
        for index in range(FROZEN_BLOCKS, len(blocks)):
            y = fused_trunk.block(blocks[index], x, before)
            if y.shape == x.shape:
                dropped = DROP_PATH * index / len(blocks)
                kept = torch.rand(len(x), 1, 1, 1) > dropped
                y = x + (y - x) * (kept / (1 - dropped)).to(x.dtype)
            x = y
        return x

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        tokens = self.project(features.flatten(2).transpose(1, 2))
        positions = self.positions
        if features.shape[-1] != positions.shape[-1]:
            positions = functional.interpolate(positions, size=features.shape[-2:], mode="bilinear", align_corners=False)
        tokens = tokens + positions.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first_token.expand(tokens.shape[0], -1, -1), tokens], 1)
        return self.classifier(self.encoder(tokens)[:, 0])

    def forward(self, pixel_values):
        return self.classify(self.features(upsample(pixel_values, TRUNK_PX)))


def learn_statistics(model: HybridVit, pictures: cifar10.Pictures) -> None:
    """Replaces ImageNet's means and variances in the trunk's normalizations by those of 2,048 up-sampled pictures."""
    norms = [module for module in model.trunk.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.trunk.train()
    order = np.random.default_rng(0).permutation(len(pictures))
    with torch.no_grad():
        for start in range(0, 2048, 128):
            pixels = NORMALIZATION.apply(pictures.pixels[order[start : start + 128]])
            model.features(upsample(torch.from_numpy(pixels), TRUNK_PX))
    model.eval()


def augment(pixels: torch.Tensor, size_px: int) -> torch.Tensor:
    """Changes colour and contrast of f32[N,3,32,32]; mirrors, turns, stretches, shifts and up-samples it, in one step."""
    count = len(pixels)

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(count, *shape) * (high - low) + low

    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * between(0.7, 1.3, 1, 1, 1)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = mean + (pixels - mean) * between(0.8, 1.2, 1, 1, 1) + between(-0.2, 0.2, 1, 1, 1)
    zoom, stretch = between(0.8, 1.1), torch.exp(between(-0.1, 0.1))
    angle = between(-0.2, 0.2) * (torch.rand(count) < 0.5)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [[cos * stretch * mirror, -sin, between(-0.25, 0.25)], [sin * mirror, cos / stretch, between(-0.25, 0.25)]]
    matrices = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = functional.affine_grid(matrices, (count, 3, size_px, size_px), align_corners=False)
    return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def mix(pixels: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Returns (f32[N,3,P,P] with something of another picture in each, the share that is its own, which the other was)."""
    others = torch.from_numpy(rng.permutation(len(pixels)))
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
    steps_per_epoch = len(pictures) // BATCH
    sizes = [size_px for epochs, size_px in SCHEDULE for _ in range(epochs)]
    optimizer = torch.optim.AdamW(
        [{"params": model.trunk_parameters()}, {"params": model.encoder_parameters()}], weight_decay=0.02, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [TRUNK_RATE, ENCODER_RATE], total_steps=len(sizes) * steps_per_epoch, pct_start=0.12
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    training = Training(out / f"{NAME}.pt", model, optimizer, schedule, len(sizes), clip=2.0)
    for epoch in training.epochs():
        rng = np.random.default_rng(epoch)
        order = rng.permutation(len(pictures))
        for step in range(steps_per_epoch):
            indices = order[step * BATCH : (step + 1) * BATCH]
            pixels = augment(torch.from_numpy(NORMALIZATION.apply(pictures.pixels[indices])), sizes[epoch])
            pixels, share, others = mix(pixels, rng)
            targets = torch.from_numpy(pictures.labels[indices])
            features = model.fused_features(pixels)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model.classify(features).float()
            training.step(share * loss_of(logits, targets) + (1 - share) * loss_of(logits, targets[others]))


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = cifar10.load_train(arguments.data, arguments.out)
    val, demo = cifar10.load_val(arguments.data, arguments.out)
    trunk = efficientnet_lite.load(0)
    plain_convolutions(trunk)
    seed_everything()
    model = HybridVit(trunk)
    learn_statistics(model, training)
    log("the trunk's statistics are those of these pictures")
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
