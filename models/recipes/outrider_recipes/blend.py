"""How much of a training is kept: weights between those of before and those of after.

Source: Wortsman et al., Robust fine-tuning of zero-shot models (CVPR 2022, arXiv:2109.01903): on the straight line between both lies a
network that knows nearly all of what is new and has forgotten nearly nothing. It costs no training.
"""

import json
from collections.abc import Callable

import torch
from torch import nn

from .run import log

# Of the way from before to after; all of it first.
SHARES = [1.0, 0.85, 0.7, 0.55, 0.4, 0.25]
# Share of the pictures or texts of before that may be answered worse: what is less is chance.
FORGETS = 0.005


def blend(network: nn.Module, before: dict[str, torch.Tensor], measure: Callable[[], tuple[float, float | None]]) -> dict:
    """Leaves `network` where it agrees best on what is new, of the places where what was known is as good as before.

    `before` is its state before the training; `measure` gives shares 0..1, on examples that nothing was trained on: answers as the cloud's
    (new), and right answers on what it was trained on at first (known; None: there is nothing to measure it on). Returns figures for the card.
    """
    after = {name: value.clone() for name, value in network.state_dict().items()}

    def at(share: float) -> tuple[float, float | None]:
        mixed = {name: value if not value.is_floating_point() else torch.lerp(before[name], value, share) for name, value in after.items()}
        network.load_state_dict(mixed)
        return measure()

    start = at(0.0)[1]
    found = {share: at(share) for share in SHARES}
    for share, (new, known) in found.items():
        log(json.dumps({"kept": share, "new": round(new, 4), "known": None if known is None else round(known, 4)}))
    remembers = [share for share, (_, known) in found.items() if known is None or start is None or known >= start - FORGETS]
    chosen = max(remembers or SHARES[-1:], key=lambda share: found[share][0])
    at(chosen)
    known = found[chosen][1]
    return {"kept": chosen} | ({} if known is None or start is None else {"knownBefore": round(start, 4), "knownAfter": round(known, 4)})
