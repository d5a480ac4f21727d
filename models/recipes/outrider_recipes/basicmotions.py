"""BasicMotions: windows of a smart watch, as the UEA archive's `.ts` files have them."""

import gzip
from pathlib import Path

import numpy as np

LABELS = ["Standing", "Running", "Walking", "Badminton"]
# Of the accelerometer, then of the gyroscope.
CHANNELS = ["ax", "ay", "az", "gx", "gy", "gz"]
LENGTH, RATE = 100, 10


def load(data: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Windows f32[40,6,100] and labels i64[40] of `TRAIN` or `TEST`."""
    text = gzip.decompress((data / "sensors" / f"BasicMotions_{part}.ts.gz").read_bytes()).decode()
    windows, labels = [], []
    for line in text.split("@data", 1)[1].split():
        *channels, label = line.split(":")
        windows.append([[float(value) for value in channel.split(",")] for channel in channels])
        labels.append(LABELS.index(label))
    return np.asarray(windows, np.float32), np.asarray(labels)


def augmented(windows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each window begun elsewhere, faster or slower, stronger or weaker, with another watch's noise and another hand's turn."""
    count, channels, length = windows.shape
    made = np.empty_like(windows)
    for index, window in enumerate(windows):
        speed, start = rng.uniform(0.8, 1.25), rng.integers(length)
        at = (start + np.arange(length) * speed) % length
        moved = np.stack([np.interp(at, np.arange(length + 1), np.append(line, line[0])) for line in window])
        axes = np.linalg.qr(np.eye(3) + rng.normal(0, 0.25, (3, 3)))
        turn = axes.Q * np.sign(np.diag(axes.R))
        made[index] = np.concatenate([turn @ moved[:3], turn @ moved[3:]])
    strength = rng.lognormal(0, 0.25, (count, 1, 1))
    noise = rng.normal(0, 0.05, made.shape) * windows.std((0, 2))[None, :, None]
    return (made * strength + noise).astype(np.float32)
