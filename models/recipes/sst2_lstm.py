"""Builds models/sst2-lstm: a word-level BiLSTM that learns from sst2-minilm's answers, dynamic int8."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

import sst2_minilm
from outrider_recipes import sst2
from outrider_recipes.folder import MODEL_FILE, label_names, text_golden, write_model_folder
from outrider_recipes.minilm import load_tokenizer
from outrider_recipes.onnx_files import quantize_dynamic_int8
from outrider_recipes.run import cached, compare_files, parse_arguments, save_figures, seed_everything
from outrider_recipes.text_models import batches_by_length, encode, export_text_model, file_logits, module_rows, pad, tensors
from outrider_recipes.training import Training

NAME = "sst2-lstm"
WORDS = 10_000
WIDTH = 64
EPOCHS = 6
BATCH = 64
RATE = 2e-3
MAX_LENGTH = 128
SPECIAL = ["[PAD]", "[UNK]", "[CLS]"]


def build_tokenizer(texts: list[str]) -> Tokenizer:
    """Words as the treebank writes them (`does n't`, `it 's`), made from ordinary text as well.

    The treebank's sentences come without full stops, hyphens and brackets, so these separate words here.
    Every text starts with [CLS]: no input is empty, whatever it says.
    """
    clitics = "s|re|ve|ll|d|m"
    tokenizer = Tokenizer(models.WordLevel({}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("``|''|[\u201c\u201d]"), '"'),
            normalizers.Replace(Regex("[`\u2018\u2019]"), "'"),
            normalizers.Replace(Regex(r"n't\b"), " n't"),
            normalizers.Replace(Regex(rf"'(?=(?:{clitics})\b)"), " '"),
            # An apostrophe at a word's edge is a quotation mark and stands alone; "'s" and "n't" keep theirs.
            normalizers.Replace(Regex(r"'(?!\w)"), " ' "),
            normalizers.Replace(Regex(rf"(?<!\w)'(?!(?:{clitics}|em|til|\d0s)\b)"), " ' "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\w',?!\"$%&]+"), "removed"),
            pre_tokenizers.Split(Regex(r"[,?!\"$%&]"), "isolated"),
        ]
    )
    counts = Counter(
        word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    )
    words = SPECIAL + sorted(counts, key=lambda word: (-counts[word], word))[: WORDS - len(SPECIAL)]
    tokenizer.model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", pair="[CLS] $A $B", special_tokens=[("[CLS]", SPECIAL.index("[CLS]"))]
    )
    return tokenizer


class BiLstmClassifier(nn.Module):
    """Word vectors, one LSTM in each direction, the maximum over the words, one linear layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(2 * WIDTH, 2)

    def forward(self, input_ids, attention_mask):
        # Packing keeps the padding out of the backward direction; the export turns it into the LSTM's sequence_lens,
        # which, unlike torch, asks for no order of the rows.
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.embedding(input_ids)),
            attention_mask.sum(1).cpu(),
            batch_first=True,
            enforce_sorted=torch.onnx.is_in_onnx_export(),
        )
        hidden, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        masked = hidden + (attention_mask.unsqueeze(-1).to(hidden.dtype) - 1) * 1e4
        return self.head(self.dropout(masked.max(1).values))


def learn_from_teacher(out: Path, texts: list[str], words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's logits f32[N,2] on `texts` and its vectors f32[W,384] of single words, kept in --out."""
    tokenizer = load_tokenizer()

    def ask(teacher: Callable[..., torch.Tensor], asked: list[str], batch: int) -> np.ndarray:
        return module_rows(teacher, encode(tokenizer, asked, MAX_LENGTH), batch)

    return (
        cached(out / f"{NAME}.teacher.npy", len(texts), lambda: ask(sst2_minilm.load_trained(out), texts, 64)),
        cached(out / f"{NAME}.words.npy", len(words), lambda: ask(sst2_minilm.load_trained(out).sentence_vector, words, 256)),
    )


def principal_components(vectors: np.ndarray, width: int) -> np.ndarray:
    """f32[W,width]: the strongest directions of f32[W,D], scaled to a standard deviation of 0.3 over all entries."""
    centred = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    projected = centred @ directions[:width].T
    return (projected / projected.std() * 0.3).astype(np.float32)


def train(model: BiLstmClassifier, rows: list[list[int]], targets: np.ndarray, out: Path) -> None:
    """`targets`: f32[N,2] probabilities to imitate, row by row."""
    lengths = np.array([len(row) for row in rows])
    steps = EPOCHS * -(-len(rows) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    training = Training(out / f"{NAME}.pt", model, optimizer, schedule, EPOCHS)
    for epoch in training.epochs():
        for indices in batches_by_length(lengths, BATCH, np.random.default_rng(epoch)):
            inputs = tensors(pad([rows[i] for i in indices]))
            # A word is unknown now and then, so that the vector of [UNK] means something.
            unknown = (torch.rand(inputs["input_ids"].shape) < 0.03) & (inputs["input_ids"] >= len(SPECIAL))
            inputs["input_ids"] = inputs["input_ids"].masked_fill(unknown, SPECIAL.index("[UNK]"))
            training.step(nn.functional.cross_entropy(model(**inputs), torch.from_numpy(targets[indices])))


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = sst2.load_train(arguments.data)
    dev = sst2.load_dev(arguments.data)
    tokenizer = build_tokenizer(training.texts)
    words = [word for word, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]

    texts = sst2.make_variants(training.texts, np.random.default_rng(0))
    logits, word_vectors = learn_from_teacher(arguments.out, texts, words)
    targets = torch.softmax(torch.from_numpy(logits), 1).numpy()

    seed_everything()
    model = BiLstmClassifier()
    with torch.no_grad():
        vectors = principal_components(word_vectors, WIDTH)
        vectors[: len(SPECIAL)] = 0
        model.embedding.weight.copy_(torch.from_numpy(vectors))
    train(model, encode(tokenizer, texts, MAX_LENGTH), targets, arguments.out)

    float_file = arguments.out / NAME / "model.onnx"
    export_text_model(model, float_file, ("input_ids", "attention_mask"))
    folder = arguments.models / NAME
    int8_file = folder / MODEL_FILE
    quantize_dynamic_int8(float_file, int8_file)

    rows, threads = encode(tokenizer, dev.texts, MAX_LENGTH), arguments.threads
    float_logits, int8_logits = file_logits(float_file, rows, threads), file_logits(int8_file, rows, threads)
    figures = {"trainedOn": len(training), "heldOut": len(held_out)}
    figures |= compare_files(float_logits, int8_logits, dev.labels, int8_file)
    padding_changes = np.abs(file_logits(float_file, rows, threads, batch=16) - float_logits).max()
    figures["paddingChangesFloatLogitsBy"] = float(padding_changes)
    save_figures(arguments.out, NAME, figures)

    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    write_model_folder(
        folder,
        spec={"task": "text-classification", "precision": "int8-dynamic", "batch": {"safe": False, "maxSize": 32}},
        documents={
            "config.json": {
                "architectures": ["BiLstmForSequenceClassification"],
                "model_type": "bilstm",
                "hidden_size": WIDTH,
                "vocab_size": WORDS,
                "pad_token_id": SPECIAL.index("[PAD]"),
                **label_names(sst2.LABELS),
            },
            "tokenizer_config.json": {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "unk_token": "[UNK]",
                "pad_token": "[PAD]",
                "cls_token": "[CLS]",
                "model_max_length": MAX_LENGTH,
                "model_input_names": ["input_ids", "attention_mask"],
                "clean_up_tokenization_spaces": False,
            },
        },
        golden=text_golden(lambda text: file_logits(int8_file, encode(tokenizer, [text], MAX_LENGTH), threads)[0], sst2.LABELS),
    )


if __name__ == "__main__":
    main()
