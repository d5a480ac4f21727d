"""Makes the next version of a picture classifier for devices from what a hub has captured: the cloud's answers are what it learns.

Only its model folder is needed: the int8 graph is read back as floats (outrider_recipes/onnx_to_torch.py), trained on, and made int8 again.
What it was trained on at first (--original: <label>/<picture>, a folder or a zip) is mixed in, with its own answers of before, and of the
training no more is kept than what forgets nothing of it (outrider_recipes/blend.py). The certificate is made from the captures' test split,
which nothing is trained on and nothing is chosen by.
"""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from outrider_recipes.blend import blend
from outrider_recipes.captures import Captures, begin_folder, certificate, end_folder, judge, labels_of, parse_arguments, read_captures
from outrider_recipes.folder import label_scores
from outrider_recipes.onnx_files import OnnxModel, quantize_static_u8s8
from outrider_recipes.onnx_to_torch import OnnxNetwork, float_graph
from outrider_recipes.run import log, seed_everything

BATCH = 128
RATE = 4e-4
CALIBRATION_PICTURES = 500
# Of the original's targets, what its own labels have beside the base's answers.
OWN_LABELS = 0.5
SHIFT = 1 / 8
# Held back of the captures, and of the pictures of before, to choose how much of the training is kept.
CHOOSING = 0.15
CHOOSING_ORIGINAL = 1_000
# Pictures of before for each capture: with as many as captures two points of what was known are lost (docs/decisions/0046).
ORIGINAL_TIMES = 3


class Preparation:
    """A picture as the runner prepares it: resize, centre crop, normalization of preprocessor_config.json."""

    def __init__(self, base: Path):
        told = json.loads((base / "preprocessor_config.json").read_text(encoding="utf-8"))
        self.size, self.crop = told["size"], told.get("crop_size") if told.get("do_center_crop") else None
        self.kernel = Image.Resampling(told.get("resample", 2))
        self.mean = np.array(told["image_mean"], np.float32)
        self.std = np.array(told["image_std"], np.float32)

    def pixels(self, encoded: bytes) -> np.ndarray:
        """u8[H,W,3] RGB"""
        picture = Image.open(io.BytesIO(encoded)).convert("RGB")
        width, height = picture.size
        edge = self.size.get("shortest_edge")
        scale = edge / min(width, height) if edge else 1
        target = (round(width * scale), round(height * scale)) if edge else (self.size["width"], self.size["height"])
        if target != picture.size:
            picture = picture.resize(target, self.kernel)
        if self.crop:
            left, top = (picture.width - self.crop["width"]) // 2, (picture.height - self.crop["height"]) // 2
            picture = picture.crop((left, top, left + self.crop["width"], top + self.crop["height"]))
        return np.asarray(picture)

    def tensor(self, pixels: np.ndarray) -> np.ndarray:
        """f32[N,3,H,W] of u8[N,H,W,3]"""
        return ((pixels.astype(np.float32) / 255 - self.mean) / self.std).transpose(0, 3, 1, 2).astype(np.float32)


def read_original(path: Path, labels: list[str], preparation: Preparation, most: int) -> tuple[np.ndarray, np.ndarray]:
    """u8[N,H,W,3] and labels i64[N], at most `most`, drawn by lot."""
    if path.is_dir():
        files = {str(one.relative_to(path)): one.read_bytes for one in sorted(path.rglob("*")) if one.is_file()}
    else:
        archive = zipfile.ZipFile(path)
        files = {name: (lambda name=name: archive.read(name)) for name in sorted(archive.namelist())}
    names = [name for name in files if len(Path(name).parts) > 1 and Path(name).parts[-2] in labels]
    chosen = [names[index] for index in np.random.default_rng(0).permutation(len(names))[:most]]
    pixels = np.stack([preparation.pixels(files[name]()) for name in chosen])
    return pixels, np.array([labels.index(Path(name).parts[-2]) for name in chosen])


def augment(x: torch.Tensor, flip: bool) -> torch.Tensor:
    """f32[N,3,H,W], each shifted a little, edges reflected; half of them mirrored where that means the same."""
    count, _, height, width = x.shape
    if flip:
        x = torch.where(torch.rand(count, 1, 1, 1) < 0.5, x.flip(3), x)
    shift = max(1, int(min(height, width) * SHIFT))
    padded = functional.pad(x, (shift,) * 4, mode="reflect")
    y, left = torch.randint(0, 2 * shift + 1, (2, count))
    return torch.stack([padded[i, :, y[i] : y[i] + height, left[i] : left[i] + width] for i in range(count)])


def train(network: OnnxNetwork, pixels: torch.Tensor, targets: torch.Tensor, epochs: int, rate: float, flip: bool) -> None:
    steps = epochs * -(-len(pixels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        losses = []
        for indices in torch.randperm(len(pixels)).split(BATCH):
            loss = functional.cross_entropy(network(augment(pixels[indices], flip)), targets[indices])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        log(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.4f}")


def network_answers(network: OnnxNetwork, preparation: Preparation, pixels: np.ndarray) -> np.ndarray:
    """Labels i64[N] of u8[N,H,W,3]."""
    with torch.no_grad():
        parts = [network(torch.from_numpy(preparation.tensor(pixels[start : start + 500]))).argmax(1) for start in range(0, len(pixels), 500)]
    return torch.cat(parts).numpy()


def file_logits(path: Path, preparation: Preparation, pixels: np.ndarray, threads: int) -> np.ndarray:
    """f32[N,C] of an ONNX file."""
    model = OnnxModel(path, threads)
    parts = (preparation.tensor(pixels[start : start + 100]) for start in range(0, len(pixels), 100))
    return np.concatenate([model.logits(pixel_values=part) for part in parts])


def main() -> None:
    arguments = parse_arguments(__doc__)
    base, out = arguments.base, arguments.out
    labels, preparation = labels_of(base), Preparation(base)
    spec = json.loads((base / "outrider.json").read_text(encoding="utf-8"))
    if spec["precision"] not in ("int8-static", "float32"):
        raise SystemExit(f"this recipe trains int8-static and float32 graphs, not {spec['precision']}")
    captures = read_captures(arguments.captures, labels)
    read = lambda some: np.stack([preparation.pixels((arguments.captures / row["file"]).read_bytes()) for row in some.rows])
    train_split, test = captures.of("train"), captures.of("test")
    if not len(train_split) or not len(test):
        raise SystemExit("the export needs captures in its splits train and test")
    learnt, choosing = train_split.apart(CHOOSING)
    pixels, targets = read(learnt), learnt.targets

    network = OnnxNetwork(float_graph(base / spec["model"]))
    if arguments.original:
        old, own = read_original(arguments.original, labels, preparation, max(500, ORIGINAL_TIMES * len(learnt)) + CHOOSING_ORIGINAL)
        apart = min(CHOOSING_ORIGINAL, len(old) // 3)
        known, (old, own) = (old[:apart], own[:apart]), (old[apart:], own[apart:])
        with torch.no_grad():
            tensor = lambda part: torch.from_numpy(preparation.tensor(part))
            said = torch.cat([network(tensor(old[start : start + 500])).softmax(1) for start in range(0, len(old), 500)]).numpy()
        mixed = OWN_LABELS * np.eye(len(labels), dtype=np.float32)[own] + (1 - OWN_LABELS) * said
        pixels, targets = np.concatenate([pixels, old]), np.concatenate([targets, mixed])
    log(f"learns from {len(learnt)} captures and {len(pixels) - len(learnt)} pictures of before")
    seed_everything()
    inputs = torch.from_numpy(preparation.tensor(pixels))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train(network, inputs, torch.from_numpy(targets.astype(np.float32)), arguments.epochs, arguments.rate or RATE, arguments.flip)
    unseen = read(choosing)

    def measure() -> tuple[float, float | None]:
        new = (network_answers(network, preparation, unseen) == choosing.answers).mean()
        if not arguments.original:
            return float(new), None
        return float(new), float((network_answers(network, preparation, known[0]) == known[1]).mean())

    kept = blend(network, before, measure)

    float_file, file = out / "float.onnx", out / spec["model"]
    begin_folder(base, out)
    network.write(float_file)
    if spec["precision"] == "int8-static":
        chosen = np.random.default_rng(0).permutation(len(pixels))[:CALIBRATION_PICTURES]
        quantize_static_u8s8(float_file, file, ({"pixel_values": preparation.tensor(pixels[i : i + 1])} for i in chosen))
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        float_file.rename(file)
    for left in out.glob("float*.onnx"):
        left.unlink()

    held = read(test)
    before, after = (file_logits(one, preparation, held, arguments.threads) for one in (base / spec["model"], file))
    figures = {"captures": len(learnt), "picturesOfBefore": len(pixels) - len(learnt)} | kept
    figures |= judge(before, after, test, arguments.anyway)
    golden = []
    for entry in spec.get("golden", []):
        pixels_of = preparation.pixels((base / entry["input"]["file"]).read_bytes())
        logits = file_logits(file, preparation, pixels_of[None], arguments.threads)[0]
        golden.append({**entry, "output": label_scores(logits, labels)[: len(entry["output"])]})
    end_folder(base, out, spec, golden, certificate(after, test, np.random.default_rng(1)), figures)


if __name__ == "__main__":
    main()
