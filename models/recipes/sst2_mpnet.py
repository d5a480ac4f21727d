"""Fine-tunes all-mpnet-base-v2 on SST-2: too large to be a starter model, it teaches sst2-minilm."""

from pathlib import Path

import numpy as np
import torch

from outrider_recipes import mpnet, sst2
from outrider_recipes.run import Checkpoint, accuracy, parse_arguments, save_figures
from outrider_recipes.text_models import SentenceClassifier, encode, fine_tune, module_rows

NAME = "sst2-mpnet"
EPOCHS = 3
MAX_LENGTH = 128


def build(out: Path) -> SentenceClassifier:
    from transformers import MPNetModel

    folder = mpnet.pretrained_folder(out)
    return SentenceClassifier(
        MPNetModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False), len(sst2.LABELS)
    )


def load_trained(out: Path) -> SentenceClassifier:
    """The fine-tuned model from a finished run of this recipe, for the recipe that learns from it."""
    model = build(out)
    if Checkpoint(out / f"{NAME}.pt").load(model=model) != EPOCHS:
        raise SystemExit(f"run {Path(__file__).name} first, with the same --out")
    return model.eval()


def all_logits(model: SentenceClassifier, texts: list[str], out: Path) -> np.ndarray:
    """f32[N,2]"""
    with torch.autocast("cpu", torch.bfloat16):
        return module_rows(model, encode(mpnet.load_tokenizer(out), texts, MAX_LENGTH), 64)


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, _ = sst2.load_train(arguments.data)
    dev = sst2.load_dev(arguments.data)
    model = build(arguments.out)
    rows = encode(mpnet.load_tokenizer(arguments.out), training.texts, MAX_LENGTH)
    checkpoint = arguments.out / f"{NAME}.pt"
    fine_tune(
        model, rows, training.labels, checkpoint, epochs=EPOCHS, batch=32, body_rate=2e-5, head_rate=1e-3, warm_up=0.1
    )
    figures = {"trainedOn": len(training), "measuredOn": len(dev)}
    figures["floatAccuracy"] = accuracy(all_logits(model, dev.texts, arguments.out), dev.labels)
    save_figures(arguments.out, NAME, figures)


if __name__ == "__main__":
    main()
