"""Builds models/sst2-minilm-l3-int8: three layers of MiniLM that learn from sst2-minilm's answers, static int8."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

import sst2_minilm
from outrider_recipes import sst2
from outrider_recipes.folder import MODEL_FILE, label_names, text_golden, write_model_folder
from outrider_recipes.minilm import bert_documents, load_tokenizer, pretrained_folder, tokenizer_document
from outrider_recipes.onnx_files import quantize_static_u8s8
from outrider_recipes.run import cached, compare_files, log, parse_arguments, save_figures, seed_everything
from outrider_recipes.text_models import SentenceClassifier, encode, export_text_model, file_logits, fine_tune, pad

NAME = "sst2-minilm-l3-int8"
# Every second layer of six.
LAYERS = (0, 2, 4)
WORDS = 8000
MAX_LENGTH = 128
CALIBRATION_SENTENCES = 300
# Only these become int8: with Add and Softmax three points are lost.
OPERATORS = ["MatMul", "Gemm", "Gather"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def cut_tokenizer(texts: list[str]) -> tuple[Tokenizer, list[int]]:
    """MiniLM's tokenizer with WORDS pieces, and the old id of each.

    Kept are the special tokens, every single Latin character at the start and inside of a word, so that any word still has
    pieces, and what is most frequent in `texts`. The rest of the pieces falls apart into kept ones.
    """
    whole = load_tokenizer()
    vocabulary = whole.get_vocab()
    counts = Counter(token for encoding in whole.encode_batch(texts) for token in encoding.tokens)
    characters = sorted(p for p in vocabulary if len(p.removeprefix("##")) == 1 and p.removeprefix("##") < "\u0250")
    frequent = sorted(counts, key=lambda piece: (-counts[piece], piece))
    kept = list(dict.fromkeys([*SPECIAL, *characters, *frequent]))[:WORDS]
    document = tokenizer_document()
    ids = {piece: index for index, piece in enumerate(kept)}
    document["model"]["vocab"] = ids
    document["added_tokens"] = [token | {"id": ids[token["content"]]} for token in document["added_tokens"]]
    for name, token in document["post_processor"].get("special_tokens", {}).items():
        token["ids"] = [ids[name]]
    for side in ("sep", "cls"):
        if side in document["post_processor"]:
            name = document["post_processor"][side][0]
            document["post_processor"][side] = [name, ids[name]]
    return Tokenizer.from_str(json.dumps(document)), [vocabulary[piece] for piece in kept]


class Student(SentenceClassifier):
    """Three layers of MiniLM with the word vectors that `kept` (old ids) names."""

    def __init__(self, kept: list[int]):
        from transformers import BertModel

        encoder = BertModel.from_pretrained(
            pretrained_folder(),
            attn_implementation="eager",
            add_pooling_layer=False,
            attention_probs_dropout_prob=0.0,
        )
        embeddings, config = encoder.embeddings, encoder.config
        encoder.encoder.layer = nn.ModuleList(encoder.encoder.layer[index] for index in LAYERS)
        embeddings.word_embeddings = cut_rows(embeddings.word_embeddings, torch.tensor(kept))
        embeddings.position_embeddings = cut_rows(embeddings.position_embeddings, torch.arange(MAX_LENGTH))
        config.num_hidden_layers, config.vocab_size, config.max_position_embeddings = len(LAYERS), len(kept), MAX_LENGTH
        super().__init__(encoder, len(sst2.LABELS))

    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids, attention_mask, torch.zeros_like(input_ids))


def cut_rows(table: nn.Embedding, rows: torch.Tensor) -> nn.Embedding:
    return nn.Embedding.from_pretrained(table.weight.detach()[rows].clone(), freeze=False)


def learn_from_teacher(texts: list[str], models: Path, out: Path, threads: int) -> np.ndarray:
    """The finished teacher's logits f32[N,2], kept in --out."""

    def ask() -> np.ndarray:
        log("asks the teacher")
        rows = encode(load_tokenizer(), texts, MAX_LENGTH)
        return file_logits(models / sst2_minilm.NAME / MODEL_FILE, rows, threads, fold=True, batch=64)

    return cached(out / f"{NAME}.teacher.npy", len(texts), ask)


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = sst2.load_train(arguments.data)
    dev = sst2.load_dev(arguments.data)
    tokenizer, kept = cut_tokenizer(training.texts)
    texts = sst2.make_variants(training.texts, np.random.default_rng(0))
    teacher = learn_from_teacher(texts, arguments.models, arguments.out, arguments.threads)
    targets = torch.softmax(torch.from_numpy(teacher), 1).numpy()
    seed_everything()
    model = Student(kept)
    rows, checkpoint = encode(tokenizer, texts, MAX_LENGTH), arguments.out / f"{NAME}.pt"
    fine_tune(
        model, rows, targets, checkpoint, epochs=2, batch=32, body_rate=1e-4, head_rate=1e-3, warm_up=0.06
    )

    float_file = arguments.out / NAME / "model.onnx"
    export_text_model(model, float_file, ("input_ids", "attention_mask"))
    folder = arguments.models / NAME
    int8_file = folder / MODEL_FILE
    chosen = np.random.default_rng(0).permutation(len(training))[:CALIBRATION_SENTENCES]
    samples = (pad([row]) for row in encode(tokenizer, [training.texts[i] for i in chosen], MAX_LENGTH))
    quantize_static_u8s8(float_file, int8_file, samples, OPERATORS)

    rows, threads = encode(tokenizer, dev.texts, MAX_LENGTH), arguments.threads
    figures = {"trainedOn": len(training), "heldOut": len(held_out)}
    float_logits, int8_logits = file_logits(float_file, rows, threads), file_logits(int8_file, rows, threads)
    figures |= compare_files(float_logits, int8_logits, dev.labels, int8_file)
    save_figures(arguments.out, NAME, figures)

    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    write_model_folder(
        folder,
        spec={"task": "text-classification", "precision": "int8-static", "batch": {"safe": True, "maxSize": 32}},
        documents=bert_documents(
            model.encoder.config, "BertForSequenceClassification", MAX_LENGTH, label_names(sst2.LABELS)
        ),
        golden=text_golden(
            lambda text: file_logits(int8_file, encode(tokenizer, [text], MAX_LENGTH), threads)[0], sst2.LABELS
        ),
    )


if __name__ == "__main__":
    main()
