"""A recipe run: its arguments, seed, log, and checkpoints that a killed run continues from."""

import argparse
import importlib.util
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

SEED = 20261123


def parse_arguments(description: str) -> argparse.Namespace:
    """The arguments that every recipe takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="folder with the training data (see README.md)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, caches and figures")
    parser.add_argument(
        "--models",
        type=Path,
        default=Path(__file__).resolve().parents[2],
        help="where the finished model folder goes (default: the models folder of this checkout)",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    seed_everything()
    return arguments


def package_folder(name: str) -> Path:
    """Where an installed package lies, found without importing it."""
    found = importlib.util.find_spec(name)
    if found is None:
        raise SystemExit(f"{name} isn't installed: pip install -r models/recipes/requirements.txt")
    return Path(found.submodule_search_locations[0])


def seed_everything(offset: int = 0) -> None:
    """Seeds every source of randomness; `offset` tells epochs apart, so that a resumed run repeats the same one."""
    random.seed(SEED + offset)
    np.random.seed(SEED + offset)
    torch.manual_seed(SEED + offset)


def log(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


class Checkpoint:
    """The last finished epoch of a training run, written atomically."""

    def __init__(self, path: Path):
        self.path = path

    def load(self, **parts) -> int:
        """Restores each part (anything with load_state_dict) and returns how many epochs are done."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        log(f"{self.path.name}: continuing after epoch {state['epochs']}")
        return state["epochs"]

    def save(self, epochs: int, **parts) -> None:
        temporary = self.path.with_suffix(".tmp")
        torch.save({"epochs": epochs, **{name: part.state_dict() for name, part in parts.items()}}, temporary)
        temporary.replace(self.path)


def save_figures(out: Path, name: str, figures: dict) -> None:
    """Writes what a recipe measured to `<out>/<name>.figures.json`."""
    (out / f"{name}.figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    log(f"{name}: {json.dumps(figures)}")


def cached(path: Path, rows: int, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `make` gives, kept in a file; `rows`: how long it must be."""
    if not path.exists():
        np.save(path, make())
    found = np.load(path)
    if len(found) != rows:
        raise SystemExit(f"{path} belongs to other data: delete it")
    return found


def compare_files(float_logits: np.ndarray, int8_logits: np.ndarray, labels: np.ndarray, int8_file: Path) -> dict:
    """The figures of a file and of its float parent: f32[N,C] logits and the right classes i64[N]."""
    return {
        "measuredOn": len(labels),
        "floatAccuracy": accuracy(float_logits, labels),
        "int8Accuracy": accuracy(int8_logits, labels),
        "int8AgreesWithFloat": agreement(float_logits, int8_logits),
        "bytes": int8_file.stat().st_size,
    }


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share (0..1) of rows of f32[N,C] logits whose largest entry is the label."""
    return float((logits.argmax(1) == labels).mean())


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share (0..1) of rows on which two f32[N,C] logits name the same class."""
    return float((first.argmax(1) == second.argmax(1)).mean())
