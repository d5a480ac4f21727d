"""Makes the next version of a BiLSTM of texts (as sst2-lstm) from what a hub has captured: the cloud's answers are what it learns.

Only its model folder is needed: the int8 graph's weights become floats again. What it was trained on at first (--original: lines of text,
tab, label's index) is mixed in, with its own answers of before. Words that the base does not know stay unknown: its tokenizer is kept. The
certificate is made from the captures' test split, which nothing is trained on.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from tokenizers import Tokenizer
from torch import nn

from outrider_recipes.captures import begin_folder, certificate, end_folder, judge, labels_of, parse_arguments, read_captures
from outrider_recipes.folder import label_scores
from outrider_recipes.onnx_files import quantize_dynamic_int8
from outrider_recipes.run import log, seed_everything
from outrider_recipes.text_models import batches_by_length, encode, export_text_model, file_logits, module_rows, pad, tensors
from sst2_lstm import BATCH, MAX_LENGTH, WIDTH, WORDS, BiLstmClassifier

RATE = 5e-4
# Of the original's targets, what its own labels have beside the base's answers.
OWN_LABELS = 0.5
# ONNX orders the gates input, output, forget, cell; torch input, forget, cell, output.
GATES = [0, 2, 3, 1]


def read_weights(path: Path) -> BiLstmClassifier:
    """The network of a folder that sst2_lstm.py or this recipe has written."""
    graph = onnx.load(path).graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}

    def floats(name: str) -> np.ndarray:
        if name in values and values[name].dtype == np.float32:
            return values[name]
        stem = name.removesuffix("_quantized")
        scale, zero = values[f"{stem}_scale"], values[f"{stem}_zero_point"]
        shape = (-1, *(1,) * (values[f"{stem}_quantized"].ndim - 1)) if scale.ndim else ()
        return (values[f"{stem}_quantized"].astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)

    lstm = next((node for node in graph.node if node.op_type in ("LSTM", "DynamicQuantizeLSTM")), None)
    embedding = next((node for node in graph.node if node.op_type == "Gather" and "input_ids" in node.input), None)
    head = next((name for name in ("head.weight", "head.weight_Transposed_quantized") if name in values), None)
    if lstm is None or embedding is None or head is None or floats(embedding.input[0]).shape != (WORDS, WIDTH):
        raise SystemExit("this recipe trains BiLSTMs as sst2_lstm.py makes them")
    model = BiLstmClassifier()
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(floats(embedding.input[0])))
        inner = [floats(lstm.input[1]), floats(lstm.input[2])]
        for direction, suffix in enumerate(["", "_reverse"]):
            for weights, name in zip(inner, ["weight_ih_l0", "weight_hh_l0"]):
                rows = weights[direction].T if lstm.op_type == "DynamicQuantizeLSTM" else weights[direction]
                getattr(model.lstm, name + suffix).copy_(torch.from_numpy(in_order(rows)))
            both = values[lstm.input[3]][direction].reshape(2, -1)
            for bias, name in zip(both, ["bias_ih_l0", "bias_hh_l0"]):
                getattr(model.lstm, name + suffix).copy_(torch.from_numpy(in_order(bias)))
        weight = floats(head)
        model.head.weight.copy_(torch.from_numpy(weight.T if weight.shape[0] != 2 else weight))
        model.head.bias.copy_(torch.from_numpy(values["head.bias"]))
    return model


def in_order(rows: np.ndarray) -> np.ndarray:
    """Gates as torch has them, of f32[4*WIDTH,...]."""
    return np.ascontiguousarray(rows.reshape(4, WIDTH, *rows.shape[1:])[GATES].reshape(rows.shape))


def train(model: BiLstmClassifier, rows: list[list[int]], targets: np.ndarray, epochs: int, rate: float) -> None:
    lengths = np.array([len(row) for row in rows])
    steps = epochs * -(-len(rows) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        losses = []
        for indices in batches_by_length(lengths, BATCH, np.random.default_rng(epoch)):
            loss = nn.functional.cross_entropy(model.train()(**tensors(pad([rows[i] for i in indices]))), torch.from_numpy(targets[indices]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        log(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.4f}")
    model.eval()


def main() -> None:
    arguments = parse_arguments(__doc__)
    base, out = arguments.base, arguments.out
    labels = labels_of(base)
    spec = json.loads((base / "outrider.json").read_text(encoding="utf-8"))
    captures = read_captures(arguments.captures, labels)
    learnt, test = captures.of("train"), captures.of("test")
    if not len(learnt) or not len(test):
        raise SystemExit("the export needs captures in its splits train and test")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    encoded = lambda texts: encode(tokenizer, texts, MAX_LENGTH)
    rows, targets = encoded([row["text"] for row in learnt.rows]), learnt.targets

    model = read_weights(base / spec["model"]).eval()
    if arguments.original:
        lines = [line.rsplit("\t", 1) for line in arguments.original.read_text(encoding="utf-8").splitlines() if "\t" in line]
        chosen = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))[: max(500, len(learnt))]]
        old, own = encoded([text for text, _ in chosen]), np.array([int(label) for _, label in chosen])
        said = torch.softmax(torch.from_numpy(module_rows(model, old, 64)), 1).numpy()
        mixed = OWN_LABELS * np.eye(len(labels), dtype=np.float32)[own] + (1 - OWN_LABELS) * said
        rows, targets = rows + old, np.concatenate([targets, mixed])
    log(f"learns from {len(learnt)} captures and {len(rows) - len(learnt)} texts of before")
    seed_everything()
    train(model, rows, targets.astype(np.float32), arguments.epochs, arguments.rate or RATE)

    begin_folder(base, out)
    float_file, file = out / "float.onnx", out / spec["model"]
    export_text_model(model, float_file, ("input_ids", "attention_mask"))
    quantize_dynamic_int8(float_file, file)
    float_file.unlink()

    held = encoded([row["text"] for row in test.rows])
    before, after = (file_logits(one, held, arguments.threads) for one in (base / spec["model"], file))
    figures = {"captures": len(learnt), "textsOfBefore": len(rows) - len(learnt)}
    figures |= judge(before, after, test, arguments.anyway)
    golden = []
    for entry in spec.get("golden", []):
        logits = file_logits(file, encoded([entry["input"]["text"]]), arguments.threads)[0]
        golden.append({**entry, "output": label_scores(logits, labels)[: len(entry["output"])]})
    end_folder(base, out, spec, golden, certificate(after, test, np.random.default_rng(1)), figures)


if __name__ == "__main__":
    main()
