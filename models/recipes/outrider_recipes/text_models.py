"""Tokenized text: padding, export of a model that reads it, running a torch module or an ONNX file, row order kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .onnx_files import OnnxModel, export


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


def export_text_model(
    model: torch.nn.Module, path: Path, inputs: tuple[str, ...], token_outputs: tuple[str, ...] = ()
) -> None:
    """Writes `model`, whose `inputs` are i64[N,L]; its outputs are f32[N,C] logits, or those named here, f32[N,L] each."""
    tokens, axes = torch.ones(2, 8, dtype=torch.int64), {0: "batch", 1: "sequence"}
    example = {name: tokens * 0 if name == "token_type_ids" else tokens for name in inputs}
    output_axes = {name: axes for name in token_outputs} or {"logits": {0: "batch"}}
    export(model, path, example, {name: axes for name in inputs} | output_axes, token_outputs or ("logits",))


def file_logits(path: Path, rows: list[list[int]], threads: int, fold: bool = False, batch: int = 1) -> np.ndarray:
    """f32[N,C] of an ONNX file; one text at a time is how an edge device runs it."""
    model = OnnxModel(path, threads, fold)
    with_types = any(entry.name == "token_type_ids" for entry in model.session.get_inputs())

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        types = {"token_type_ids": np.zeros_like(inputs["input_ids"])} if with_types else {}
        return model.logits(**inputs, **types)

    return run_rows(run, rows, batch)


def run_rows(
    run: Callable[[dict[str, np.ndarray]], np.ndarray], rows: list[list[int]], batch: int
) -> np.ndarray:
    """f32[N,C] of all rows, run in batches of like length."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    outputs: list[np.ndarray | None] = [None] * len(rows)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        for index, logits in zip(chosen, run(pad([rows[i] for i in chosen]))):
            outputs[index] = logits
    return np.stack(outputs)
