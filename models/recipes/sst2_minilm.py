"""Builds models/sst2-minilm: MiniLM-L6 fine-tuned on SST-2, int8 weights and float compute."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from outrider_recipes import sst2
from outrider_recipes.dropout import Dropout, replace_dropout
from outrider_recipes.folder import CLOUD_BATCH, MODEL_FILE, label_names, text_golden, write_model_folder
from outrider_recipes.minilm import bert_documents, load_tokenizer, pretrained_folder, write_tokenizer
from outrider_recipes.onnx_files import store_int8_weights
from outrider_recipes.run import Checkpoint, compare_files, parse_arguments, save_figures
from outrider_recipes.text_models import encode, export_text_model, file_logits, pad
from outrider_recipes.training import Training, fine_tuner, warm_up_then_fall

NAME = "sst2-minilm"
# The mean of the weights of five such runs, or of their answers, is no better than one of them (measured on dev).
EPOCHS = 3
BATCH = 32
BODY_RATE = 5e-5
HEAD_RATE = 1e-3
WARM_UP = 0.06
MAX_LENGTH = 128
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class MiniLmClassifier(nn.Module):
    """The encoder, the mean of its token vectors (as it was pretrained with), one linear layer."""

    def __init__(self):
        super().__init__()
        from transformers import BertModel

        self.encoder = BertModel.from_pretrained(
            pretrained_folder(), attn_implementation="eager", add_pooling_layer=False
        )
        replace_dropout(self.encoder)
        self.dropout = Dropout(0.1)
        self.head = nn.Linear(self.encoder.config.hidden_size, len(sst2.LABELS))

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
    optimizer = fine_tuner(model.encoder, model.head, BODY_RATE, HEAD_RATE)
    schedule = warm_up_then_fall(optimizer, steps, WARM_UP * steps)
    training = Training(out / f"{NAME}.pt", model, optimizer, schedule, EPOCHS)
    for epoch in training.epochs():
        for indices in sst2.batches_by_length(lengths, BATCH, np.random.default_rng(epoch)):
            inputs = {name: torch.from_numpy(value) for name, value in pad([rows[i] for i in indices]).items()}
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(**inputs).float()
            training.step(nn.functional.cross_entropy(logits, torch.from_numpy(sentences.labels[indices])))


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
    export_text_model(model, float_file, INPUTS)
    folder = arguments.models / NAME
    int8_file = folder / MODEL_FILE
    store_int8_weights(float_file, int8_file)

    rows, threads = encode(tokenizer, dev.texts, MAX_LENGTH), arguments.threads
    float_logits, int8_logits = file_logits(float_file, rows, threads), file_logits(int8_file, rows, threads, fold=True)
    figures = {"trainedOn": len(training), "heldOut": len(held_out)}
    figures |= compare_files(float_logits, int8_logits, dev.labels, int8_file)
    figures["largestLogitDifference"] = float(np.abs(float_logits - int8_logits).max())
    save_figures(arguments.out, NAME, figures)

    write_tokenizer(folder)
    write_model_folder(
        folder,
        spec={"task": "text-classification", "precision": "int8-weights", "foldDequantize": True, "batch": CLOUD_BATCH},
        documents=bert_documents(
            model.encoder.config, "BertForSequenceClassification", MAX_LENGTH, label_names(sst2.LABELS)
        ),
        golden=text_golden(
            lambda text: file_logits(int8_file, encode(tokenizer, [text], MAX_LENGTH), threads, fold=True)[0], sst2.LABELS
        ),
    )


if __name__ == "__main__":
    main()
