"""Which examples of a training split no model of a pair may train on.

They are what the calibration certificate is made from. The rule needs no random generator, so that any language can
repeat it: sort the ids by SHA-256 of "outrider-held-out/<data set>/<id>" and take the first `count`. The lists under
held-out/ are that rule's result, and are what the recipes and tools read.
"""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "held-out"


def choose_held_out(dataset: str, ids: list[str], count: int) -> list[str]:
    """The rule itself; returns the ids in their own order."""

    def rank(identifier: str) -> str:
        return hashlib.sha256(f"outrider-held-out/{dataset}/{identifier}".encode()).hexdigest()

    chosen = set(sorted(ids, key=rank)[:count])
    return [identifier for identifier in ids if identifier in chosen]


def read_held_out(dataset: str, ids: list[str], count: int) -> set[str]:
    """The list of a data set, made by the rule where there is none yet."""
    path = FOLDER / f"{dataset}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(choose_held_out(dataset, ids, count)) + "\n")
    held_out = set(path.read_text().split())
    if len(held_out) != count or not held_out <= set(ids):
        raise ValueError(f"{path} does not fit the data: {len(held_out)} ids, expected {count} known ones")
    return held_out
