"""SST-2 at sentence level: `sst2/{train,dev}.tsv`, sentence TAB 1 (positive) | 0 (negative)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .held_out import read_held_out

LABELS = ["NEGATIVE", "POSITIVE"]
HELD_OUT = 900
VARIANTS = 6


@dataclass(frozen=True)
class Sentences:
    """`texts[i]` belongs to `labels[i]`, i64[N] of 0 (negative) or 1 (positive)."""

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


def read_tsv(path: Path) -> Sentences:
    rows = [line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return Sentences([text for text, _ in rows], np.array([int(label) for _, label in rows]))


def load_train(data: Path) -> tuple[Sentences, Sentences]:
    """Returns (what may be trained on, what is held out). An id is the line's number in train.tsv, from 1.

    A sentence that stands twice and is held out once is dropped from the training part.
    """
    everything = read_tsv(data / "sst2" / "train.tsv")
    ids = [str(number + 1) for number in range(len(everything))]
    held_out = read_held_out("sst2", ids, HELD_OUT)
    is_held_out = np.array([identifier in held_out for identifier in ids])
    held_out_texts = {text for text, held in zip(everything.texts, is_held_out) if held}
    is_train = np.array([text not in held_out_texts for text in everything.texts])
    return _select(everything, is_train), _select(everything, is_held_out)


def load_dev(data: Path) -> Sentences:
    return read_tsv(data / "sst2" / "dev.tsv")


def _select(sentences: Sentences, mask: np.ndarray) -> Sentences:
    return Sentences([text for text, keep in zip(sentences.texts, mask) if keep], sentences.labels[mask])


def make_variants(texts: list[str], rng: np.random.Generator) -> list[str]:
    """The texts, then VARIANTS of each: a run of its words, or the whole with some words left out (arXiv:1903.12136)."""
    variants = list(texts)
    for text in texts:
        words = text.split()
        for index in range(VARIANTS):
            if index % 2 == 0:
                length = int(rng.integers(min(2, len(words)), len(words) + 1))
                start = int(rng.integers(0, len(words) - length + 1))
                kept = words[start : start + length]
            else:
                kept = [word for word in words if rng.random() > 0.15] or words
            variants.append(" ".join(kept))
    return variants
