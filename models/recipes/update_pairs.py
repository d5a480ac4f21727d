"""Makes pairs of a version and the one after it, for `npm run bench:update`: the network of cifar10-cnn, changed in four ways."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cifar10_cnn import BATCH, CALIBRATION_PICTURES, HOLE_PX, NORMALIZATION, augment, build_network
from outrider_recipes import cifar10
from outrider_recipes.onnx_files import quantize_static_u8s8, store_int8_weights
from outrider_recipes.picture_models import export_picture_model
from outrider_recipes.run import log, parse_arguments, seed_everything

EPOCHS, PEAK_RATE = 6, 0.05
# What a fleet sends back in a week: few pictures, seen once or twice, at a rate that does not undo what was learnt.
TUNED_ON, TUNED_EPOCHS = 4_000, 2
TUNED_RATES = {"all-weights": 1e-3, "all-weights-gently": 1e-4}
LAST_LAYER_RATE = 1e-2
# On twice as many pictures, from where the first training ended.
RETRAINED_EPOCHS, RETRAINED_RATE = 2, 1e-2
KINDS = ["last-layer", *TUNED_RATES, "re-trained"]


def train(network: nn.Module, pictures: cifar10.Pictures, epochs: int, optimizer: torch.optim.Optimizer) -> None:
    """Cross-entropy on labels; the rate of `optimizer` falls to zero. What is frozen keeps its running means too."""
    pixels, labels = torch.from_numpy(NORMALIZATION.apply(pictures.pixels)), torch.from_numpy(pictures.labels)
    steps = epochs * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for epoch in range(epochs):
        losses = []
        for indices in torch.randperm(len(pictures))[: len(pictures) // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(network(augment(pixels[indices], HOLE_PX)), labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        log(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.4f}")


def sgd(parameters, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=True)


def changed(base: nn.Module, kind: str, first: cifar10.Pictures, second: cifar10.Pictures, everything: cifar10.Pictures) -> nn.Module:
    """The version after `base`, by the kind of its change; the pictures are those of the first training, new ones, and both."""
    network = copy.deepcopy(base)
    if kind == "last-layer":
        network.eval()
        for parameter in network[:-1].parameters():
            parameter.requires_grad = False
        train(network, second, TUNED_EPOCHS, sgd(network[-1].parameters(), LAST_LAYER_RATE))
    elif kind in TUNED_RATES:
        # Batch normalization keeps its running means, as is usual where there are few pictures.
        network.eval()
        few = second.where(np.arange(len(second)) < TUNED_ON)
        train(network, few, TUNED_EPOCHS, sgd(network.parameters(), TUNED_RATES[kind]))
    else:
        train(network.train(), everything, RETRAINED_EPOCHS, sgd(network.parameters(), RETRAINED_RATE))
    return network.eval()


def write(network: nn.Module, folder: Path, pictures: cifar10.Pictures) -> None:
    """The network in the three precisions that devices run."""
    export_picture_model(network, folder / "float.onnx")
    store_int8_weights(folder / "float.onnx", folder / "int8-weights.onnx")
    samples = ({"pixel_values": NORMALIZATION.apply(pictures.pixels[i : i + 1])} for i in range(CALIBRATION_PICTURES))
    quantize_static_u8s8(folder / "float.onnx", folder / "int8-static.onnx", samples)
    (folder / "float.prepared.onnx").unlink(missing_ok=True)


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, _ = cifar10.load_train(arguments.data, arguments.out)
    chosen = np.random.default_rng(0).permutation(len(training))
    half = np.zeros(len(training), bool)
    half[chosen[: len(training) // 2]] = True
    first, second = training.where(half), training.where(~half)
    seed_everything()
    base = build_network()
    kept = arguments.out / "update-pairs-base.pt"
    if kept.exists():
        base.load_state_dict(torch.load(kept))
    else:
        train(base.train(), first, EPOCHS, sgd(base.parameters(), PEAK_RATE))
        torch.save(base.state_dict(), kept)
    base.eval()
    write(base, arguments.out / "pairs" / "base", first)
    for offset, kind in enumerate(KINDS, start=1):
        seed_everything(offset)
        log(kind)
        write(changed(base, kind, first, second, training), arguments.out / "pairs" / kind, first)


if __name__ == "__main__":
    main()
