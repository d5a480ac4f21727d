"""Running tokenized text through a torch module or an ONNX file, row order kept."""

from collections.abc import Callable

import numpy as np
from tokenizers import Tokenizer


def encode(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[list[int]]:
    return [encoding.ids[:max_length] for encoding in tokenizer.encode_batch(texts)]


def pad(rows: list[list[int]]) -> dict[str, np.ndarray]:
    """`input_ids` and `attention_mask`, i64[N,L], padded with 0 on the right."""
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def run_rows(
    run: Callable[[dict[str, np.ndarray]], np.ndarray], rows: list[list[int]], batch: int
) -> np.ndarray:
    """f32[N,C] of all rows, run in batches of like length. batch=1 is how an edge device runs them."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    outputs: list[np.ndarray | None] = [None] * len(rows)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        for index, logits in zip(chosen, run(pad([rows[i] for i in chosen]))):
            outputs[index] = logits
    return np.stack(outputs)
