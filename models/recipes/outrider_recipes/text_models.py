"""Tokenized text: padding, a classifier of it and its training, export, running a torch module or an ONNX file, row order kept."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .dropout import Dropout, replace_dropout
from .onnx_files import OnnxModel, export
from .training import Training, warm_up_then_fall


class SentenceClassifier(torch.nn.Module):
    """An encoder, the mean of its token vectors (as sentence-transformers pretrain with), one linear layer."""

    def __init__(self, encoder: torch.nn.Module, labels: int):
        super().__init__()
        self.encoder = encoder
        replace_dropout(self.encoder)
        self.dropout = Dropout(0.1)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, labels)

    def sentence_vector(self, input_ids, attention_mask, token_type_ids=None):
        """f32[N,width]: mean over the tokens that are no padding."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return self.head(self.dropout(self.sentence_vector(input_ids, attention_mask, token_type_ids)))


def tokenizer_document(folder: Path) -> dict:
    """tokenizer.json of a pretrained folder, which may pad every text to 128 tokens: here length is the runner's business."""
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return document | {"padding": None, "truncation": None}


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


def tensors(inputs: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def batches_by_length(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Index batches of texts of like length, in random order: little padding, and no fixed order."""
    order = np.argsort(lengths + rng.random(len(lengths)) * 3, kind="stable")
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(batches)
    return batches


def fine_tune(
    model: SentenceClassifier,
    rows: list[list[int]],
    targets: np.ndarray,
    checkpoint: Path,
    *,
    epochs: int,
    batch: int,
    body_rate: float,
    head_rate: float,
    warm_up: float,
) -> None:
    """In bf16. `targets`, row by row: classes i64[N] or probabilities f32[N,C]. `warm_up`: share of all steps.

    The pretrained body may move little; the head starts from nothing.
    """
    lengths = np.array([len(row) for row in rows])
    steps = epochs * -(-len(rows) // batch)
    body, head = {"params": model.encoder.parameters(), "lr": body_rate}, {"params": model.head.parameters(), "lr": head_rate}
    optimizer = torch.optim.AdamW([body, head], weight_decay=0.01, fused=True)
    schedule = warm_up_then_fall(optimizer, steps, warm_up * steps)
    training = Training(checkpoint, model, optimizer, schedule, epochs)
    for epoch in training.epochs():
        for indices in batches_by_length(lengths, batch, np.random.default_rng(epoch)):
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(**tensors(pad([rows[i] for i in indices]))).float()
            training.step(torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets[indices])))


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


@torch.no_grad()
def module_rows(run: Callable[..., torch.Tensor], rows: list[list[int]], batch: int) -> np.ndarray:
    """What a torch module, or a method of it, gives for all rows."""
    return run_rows(lambda inputs: run(**tensors(inputs)).float().numpy(), rows, batch)


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
