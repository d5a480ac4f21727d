"""The model folder: JSON documents, golden outputs and the digests in outrider.json."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

MODEL_FILE = "onnx/model_quantized.onnx"
CLOUD_BATCH = {"safe": True, "maxSize": 32}
GOLDEN_SENTENCES = [
    "a fine film!",
    "The plot is a mess and nobody in it seems to care.",
    "I laughed, I cried, and I'd gladly see it again.",
    "It isn't as bad as people say, but it isn't good either.",
    "Two hours of my life that I won't get back.",
    "The camera work is beautiful; the story, sadly, is not.",
]


def write_json(path: Path, document: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def label_names(labels: list[str]) -> dict[str, dict]:
    """Hugging Face's two tables in config.json."""
    return {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def label_scores(logits: np.ndarray, labels: list[str]) -> list[dict]:
    """Hugging Face's classification output: every label with its softmax score (0..1), best first."""
    exponents = np.exp(logits - logits.max())
    scores = exponents / exponents.sum()
    return [{"label": labels[index], "score": round(float(scores[index]), 6)} for index in np.argsort(-scores)]


def text_golden(logits_of: Callable[[str], np.ndarray], labels: list[str]) -> list[dict]:
    return [{"input": {"text": text}, "output": label_scores(logits_of(text), labels)} for text in GOLDEN_SENTENCES]


def write_model_folder(
    folder: Path,
    spec: dict,
    documents: dict[str, dict],
    golden: list[dict],
    model_files: tuple[str, ...] = (MODEL_FILE,),
) -> None:
    """Writes the documents, then outrider.json with the SHA-256 of every file that a runner reads.

    A calibration that an earlier outrider.json holds is dropped: it belonged to other weights (certify.ts makes the next).
    """
    for name, document in documents.items():
        write_json(folder / name, document)
    paths = [*model_files, *documents]
    if (folder / "tokenizer.json").exists():
        paths.append("tokenizer.json")
    paths += [entry["input"]["file"] for entry in golden if "file" in entry["input"]]
    write_json(
        folder / "outrider.json",
        {
            "schema": 1,
            "name": folder.name,
            "task": spec["task"],
            "model": model_files[0],
            **({"graphs": list(model_files[1:])} if model_files[1:] else {}),
            **{key: value for key, value in spec.items() if key != "task"},
            "golden": golden,
            "files": {path: hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in sorted(paths)},
        },
    )
