"""A training: its steps, its log, and the checkpoint that a killed run goes on from."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from .dropout import seed_dropout
from .run import Checkpoint, log, seed_everything


def warm_up_then_fall(optimizer: torch.optim.Optimizer, steps: int, warm_up: float) -> LambdaLR:
    """The rate rises over `warm_up` steps and falls to a hundredth until the last; both in a line."""
    return LambdaLR(
        optimizer, lambda step: max(0.01, min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up)))
    )


def training_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Bf16(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(pixels.device.type, torch.bfloat16, cache_enabled=False):
            return self.network(pixels.contiguous(memory_format=torch.channels_last)).float()


def in_bf16(network: nn.Module, example: torch.Tensor) -> nn.Module:
    """`network` for training on pictures f32[N,3,H,W] like `example`; gives f32.

    On a GPU its way there and back is recorded once and replayed: starting a thousand small kernels takes longer than running them.
    """
    wrapped = _Bf16(network).train()
    if example.device.type != "cuda":
        return wrapped
    torch.backends.cudnn.benchmark = True
    return torch.cuda.make_graphed_callables(wrapped, (example,))


class Training:
    """`for epoch in training.epochs():` and in it, for each batch, `training.step(loss)`.

    `clip`: the largest norm of a step's gradients. `more`: what else belongs in the checkpoint. Every epoch has a seed of
    its own, so that one that is gone on with after a kill is the same.
    """

    def __init__(
        self,
        path: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
        epochs: int,
        clip: float | None = 1.0,
        log_every: int = 100,
        **more,
    ):
        self.checkpoint, self.model, self.optimizer, self.schedule = Checkpoint(path), model, optimizer, schedule
        self.count, self.clip, self.log_every = epochs, clip, log_every
        self.parts = {"model": model, "optimizer": optimizer, "schedule": schedule} | more
        self.epoch, self.losses = 0, []

    def epochs(self) -> Iterator[int]:
        """Those that are not done yet; leaves the model ready to answer."""
        for self.epoch in range(self.checkpoint.load(**self.parts), self.count):
            seed_everything(self.epoch)
            seed_dropout(self.epoch)
            self.model.train()
            self.losses = []
            yield self.epoch
            self.checkpoint.save(self.epoch + 1, **self.parts)
            log(f"epoch {self.epoch + 1} of {self.count}: loss {torch.stack(self.losses).mean():.4f}")
        self.model.eval()

    def step(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.detach())
        if len(self.losses) % self.log_every == 0:
            recent = torch.stack(self.losses[-self.log_every :]).mean()
            log(f"epoch {self.epoch + 1} of {self.count}, step {len(self.losses)}: loss {recent:.4f}")
