"""CIFAR-10 as JPEG files: `cifar10-{train,val}.zip`, `<class>/<number>.jpg`."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .held_out import read_held_out

LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HELD_OUT = 5000
DEMO_PER_CLASS = 10


@dataclass(frozen=True)
class Pictures:
    """`ids[i]` ("cat/0123.jpg"), `pixels[i]` u8[32,32,3] RGB and `labels[i]` (index into LABELS) belong together."""

    ids: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, mask: np.ndarray) -> "Pictures":
        return Pictures(self.ids[mask], self.pixels[mask], self.labels[mask])


def read_zip(path: Path, cache: Path) -> Pictures:
    """All pictures of a zip, in the order of their ids; decoded once, then kept in `cache`."""
    if not cache.exists():
        with zipfile.ZipFile(path) as archive:
            ids = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
            pixels = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in ids])
        labels = np.array([LABELS.index(name.split("/")[-2]) for name in ids])
        np.savez(cache, ids=np.array(ids), pixels=pixels, labels=labels)
    loaded = np.load(cache)
    return Pictures(loaded["ids"], loaded["pixels"], loaded["labels"])


def load_train(data: Path, out: Path) -> tuple[Pictures, Pictures]:
    """Returns (what may be trained on, what is held out)."""
    everything = read_zip(data / "cifar10-train.zip", out / "cifar10-train.npz")
    held_out = read_held_out("cifar10", everything.ids.tolist(), HELD_OUT)
    mask = np.array([identifier in held_out for identifier in everything.ids])
    return everything.where(~mask), everything.where(mask)


def load_val(data: Path, out: Path) -> tuple[Pictures, Pictures]:
    """Returns (what figures are reported on, the demo pictures, which are left out of them)."""
    everything = read_zip(data / "cifar10-val.zip", out / "cifar10-val.npz")
    demo = demo_ids(everything.ids.tolist())
    mask = np.array([identifier in demo for identifier in everything.ids])
    return everything.where(~mask), everything.where(mask)


def demo_ids(ids: list[str]) -> set[str]:
    """Ten pictures a class: those whose SHA-256 of "outrider-demo/<id>" comes first."""
    chosen: set[str] = set()
    for label in LABELS:
        of_class = [identifier for identifier in ids if identifier.startswith(f"{label}/")]
        of_class.sort(key=lambda identifier: hashlib.sha256(f"outrider-demo/{identifier}".encode()).hexdigest())
        chosen.update(of_class[:DEMO_PER_CLASS])
    return chosen


@dataclass(frozen=True)
class Normalization:
    """Per channel, of pixels scaled to 0..1: (pixel - mean) / std."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """u8[N,32,32,3] -> f32[N,3,32,32], what the preprocessor of the model folder gives."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2))

    def preprocessor_config(self) -> dict:
        return {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": 32},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": 32, "width": 32},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }
