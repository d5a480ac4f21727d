"""Builds models/sst2-minilm: MiniLM-L6 that learns from a larger model's answers, int8 weights and float compute."""

from pathlib import Path

import numpy as np
import torch

import sst2_mpnet
from outrider_recipes import sst2
from outrider_recipes.folder import CLOUD_BATCH, MODEL_FILE, label_names, text_golden, write_model_folder
from outrider_recipes.minilm import bert_documents, load_tokenizer, pretrained_folder, write_tokenizer
from outrider_recipes.onnx_files import store_int8_weights
from outrider_recipes.run import Checkpoint, cached, compare_files, log, parse_arguments, save_figures, seed_everything
from outrider_recipes.text_models import SentenceClassifier, encode, export_text_model, file_logits, fine_tune

NAME = "sst2-minilm"
EPOCHS = 3
MAX_LENGTH = 128
# The teacher's logits are divided by this before the softmax that the student imitates.
TEMPERATURE = 2.0
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def build() -> SentenceClassifier:
    from transformers import BertModel

    return SentenceClassifier(
        BertModel.from_pretrained(pretrained_folder(), attn_implementation="eager", add_pooling_layer=False),
        len(sst2.LABELS),
    )


def learn_from_teacher(out: Path, texts: list[str]) -> np.ndarray:
    """The teacher's logits f32[N,2], kept in --out."""

    def ask() -> np.ndarray:
        teacher = sst2_mpnet.load_trained(out)
        log("asks the teacher")
        return sst2_mpnet.all_logits(teacher, texts, out)

    return cached(out / f"{NAME}.teacher.npy", len(texts), ask)


def load_trained(out: Path) -> SentenceClassifier:
    """The fine-tuned model from a finished run of this recipe, for recipes that learn from it."""
    model = build()
    if Checkpoint(out / f"{NAME}.pt").load(model=model) != EPOCHS:
        raise SystemExit(f"run {NAME} first, with the same --out")
    return model.eval()


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, held_out = sst2.load_train(arguments.data)
    dev = sst2.load_dev(arguments.data)
    tokenizer = load_tokenizer()
    texts = sst2.make_variants(training.texts, np.random.default_rng(0))
    teacher = learn_from_teacher(arguments.out, texts)
    targets = torch.softmax(torch.from_numpy(teacher) / TEMPERATURE, 1).numpy()
    seed_everything()
    model = build()
    rows, checkpoint = encode(tokenizer, texts, MAX_LENGTH), arguments.out / f"{NAME}.pt"
    fine_tune(
        model, rows, targets, checkpoint, epochs=EPOCHS, batch=64, body_rate=7e-5, head_rate=1e-3, warm_up=0.06
    )

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
