"""ImageNet: 500 photographs, `imagenet-samples.zip` (`<synset>_<name>.jpg`), and its 1,000 classes, `imagenet-synsets.json`."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CALIBRATION = 100


@dataclass(frozen=True)
class Photographs:
    """`files[i]`, JPEG, shows class `labels[i]`."""

    files: list[bytes]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.files)


def labels(data: Path) -> list[str]:
    """The names of the 1,000 classes in order: `n01440764_tench` -> `tench`."""
    names = json.loads((data / "imagenet-synsets.json").read_text(encoding="utf-8"))
    return [name.split("_", 1)[1].replace("_", " ") for name in names]


def load(data: Path) -> tuple[Photographs, Photographs]:
    """Returns (what may be calibrated on, what figures are reported on): 100 and 400.

    The 100 are those whose SHA-256 of "outrider-calibration/<file name>" comes first.
    """
    synsets = {name: index for index, name in enumerate(json.loads((data / "imagenet-synsets.json").read_text()))}
    with zipfile.ZipFile(data / "imagenet-samples.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}

    def rank(name: str) -> str:
        return hashlib.sha256(f"outrider-calibration/{name}".encode()).hexdigest()

    def photographs(names: list[str]) -> Photographs:
        return Photographs([files[n] for n in names], np.array([synsets[n.removesuffix(".jpg")] for n in names]))

    ranked = sorted(files, key=rank)
    return photographs(ranked[:CALIBRATION]), photographs(sorted(ranked[CALIBRATION:]))


@dataclass(frozen=True)
class Preprocessing:
    """Shortest side to `edge_px` (cubic), the middle `crop_px` square, (x - 127) / 128."""

    edge_px: int
    crop_px: int

    def apply(self, jpeg: bytes) -> np.ndarray:
        """f32[1,3,H,W] as transformers' image processors compute it with Pillow."""
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        short, long = sorted(image.size)
        long_px = self.edge_px * long // short
        size = (self.edge_px, long_px) if image.width <= image.height else (long_px, self.edge_px)
        left, top = (size[0] - self.crop_px) // 2, (size[1] - self.crop_px) // 2
        cropped = image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + self.crop_px, top + self.crop_px))
        return ((np.asarray(cropped, np.float32) - 127) / 128).transpose(2, 0, 1)[None]

    def rows(self, photographs: Photographs) -> Iterator[dict[str, np.ndarray]]:
        return ({"pixel_values": self.apply(file)} for file in photographs.files)

    def document(self) -> dict:
        """preprocessor_config.json"""
        return {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": self.edge_px},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": self.crop_px, "width": self.crop_px},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [127 / 255] * 3,
            "image_std": [128 / 255] * 3,
        }
