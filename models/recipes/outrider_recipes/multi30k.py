"""Multi30k: `multi30k/{train,val}.{en,de}.gz`, one caption a line, aligned; its vocabulary and batches."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

PAD, EOS, UNKNOWN = 0, 1, 2
SPECIAL = ["<pad>", "</s>", "<unk>"]


@dataclass(frozen=True)
class Captions:
    """`sources[i]` and `targets[i]` say the same."""

    sources: list[str]
    targets: list[str]

    def __len__(self) -> int:
        return len(self.sources)


def load(data: Path, part: str, source: str = "en", target: str = "de") -> Captions:
    def lines(language: str) -> list[str]:
        with gzip.open(data / "multi30k" / f"{part}.{language}.gz", "rt", encoding="utf-8") as file:
            return [line.strip() for line in file]

    return Captions(lines(source), lines(target))


def build_tokenizer(texts: list[str], size: int) -> Tokenizer:
    """Byte-pair encoding of bytes, one vocabulary for both languages: any text has tokens, and gets back as it was."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The first word has a space in front as all others have; decoding takes it away.
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {SPECIAL[EOS]}", pair=f"$A $B {SPECIAL[EOS]}", special_tokens=[(SPECIAL[EOS], EOS)]
    )
    return tokenizer


def batches_by_tokens(lengths: np.ndarray, tokens: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Index batches of captions of like length, each padded to at most `tokens` tokens, in random order."""
    order = np.argsort(lengths + rng.random(len(lengths)) * 2, kind="stable")
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or lengths[order[start : end + 1]].max() * (end + 1 - start) > tokens:
            batches.append(order[start:end])
            start = end
    rng.shuffle(batches)
    return batches
