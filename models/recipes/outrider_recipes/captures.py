"""What a hub has captured, as `outrider captures export` writes it; and what a distilled model folder is made of."""

import argparse
import hashlib
import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .folder import write_json
from .run import log, seed_everything

# A certificate of fewer examples certifies nothing at 95 %.
LEAST_CERTIFIED = 60
CONFIDENCE = 0.95
AGREEMENTS = [0.9, 0.95, 0.97, 0.98, 0.99]


def parse_arguments(description: str) -> argparse.Namespace:
    """As a hub calls its trainer: COMMAND --base FOLDER --captures FOLDER --out FOLDER."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--base", type=Path, required=True, help="model folder of the version to begin from")
    parser.add_argument("--captures", type=Path, required=True, help="folder of outrider captures export, with train and test")
    parser.add_argument("--out", type=Path, required=True, help="where the new model folder goes; made here")
    parser.add_argument("--original", type=Path, help="what the model was trained on at first, mixed in so that it is not forgotten")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, help="learning rate at its peak")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    parser.add_argument("--flip", action="store_true", help="pictures mean the same mirrored")
    parser.add_argument("--anyway", action="store_true", help="write the folder also where it agrees with the cloud no more often than the base")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    seed_everything()
    return arguments


@dataclass(frozen=True)
class Captures:
    """`rows[i]` as exported; `targets[i]` f32[C]: what the cloud has said, as probabilities over the base's labels."""

    rows: list[dict]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, split: str) -> "Captures":
        chosen = [index for index, row in enumerate(self.rows) if row["split"] == split]
        return Captures([self.rows[index] for index in chosen], self.targets[chosen])

    def apart(self, share: float) -> tuple["Captures", "Captures"]:
        """The rest, and a share of it by lot; nearly the same inputs are on the same side."""
        groups = [row.get("group") or row["id"] for row in self.rows]
        apart = {group for group in groups if int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) < share * 2**32}
        sides = [[index for index, group in enumerate(groups) if (group in apart) == isApart] for isApart in (False, True)]
        rest, chosen = (Captures([self.rows[index] for index in side], self.targets[side]) for side in sides)
        return (rest, chosen) if len(rest) and len(chosen) else (self, self)

    @property
    def answers(self) -> np.ndarray:
        """The cloud's label of each, i64[N]."""
        return self.targets.argmax(1) if len(self) else np.zeros(0, np.int64)


def labels_of(base: Path) -> list[str]:
    """In the order of the graph's logits."""
    names = json.loads((base / "config.json").read_text(encoding="utf-8"))["id2label"]
    return [names[str(index)] for index in range(len(names))]


def read_captures(folder: Path, labels: list[str]) -> Captures:
    """All rows of an export, of the cloud version that has answered most of them: another's answers are another truth."""
    files = [folder / "captures.jsonl"] if (folder / "captures.jsonl").exists() else sorted(folder.glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    known = [row for row in rows if row.get("label") in labels and isinstance(row.get("scores"), list)]
    if not known:
        raise SystemExit(f"{folder} has no captures with the labels of the base model")
    clouds = [row["cloud_digest"] for row in known]
    newest = max(set(clouds), key=clouds.count)
    kept = [row for row in known if row["cloud_digest"] == newest]
    log(f"{len(kept)} captures of {len(rows)}: {len(rows) - len(known)} of other labels, {len(known) - len(kept)} of other cloud versions")
    return Captures(kept, np.stack([soft_target(row["scores"], labels) for row in kept]))


def soft_target(scores: list[dict], labels: list[str]) -> np.ndarray:
    """f32[C], sum 1: the cloud names its best labels only, what is left of 1 is shared by the others."""
    target = np.zeros(len(labels), np.float32)
    for entry in scores:
        if entry["label"] in labels:
            target[labels.index(entry["label"])] += max(0.0, float(entry["score"]))
    others = target == 0
    left = 1 - target.sum()
    if left > 0 and others.any():
        target[others] = left / others.sum()
    return target / target.sum()


def weighted_share(hits: np.ndarray, rows: list[dict]) -> float:
    """Share 0..1 of the requests that the rows stand for."""
    weights = np.array([row["weight"] for row in rows])
    return float((hits * weights).sum() / weights.sum()) if len(rows) else float("nan")


def certificate(logits: np.ndarray, test: Captures, rng: np.random.Generator) -> dict | None:
    """`calibration.cloud`, from data held apart; None where there is too little.

    Each row stays with a chance in proportion to the requests that it stands for: what is left is a fair sample of all requests, and the
    exact test of tools/measure/certificate.ts holds for it.
    """
    weights = np.array([row["weight"] for row in test.rows])
    fair = np.array([row["sample"] for row in test.rows], bool)
    if fair.any():
        weights = np.where(fair, weights, 0)
    chosen = rng.random(len(test)) < weights / max(weights.max(initial=0), 1e-9)
    scores, agrees = route_scores(logits[chosen]), logits[chosen].argmax(1) == test.answers[chosen]
    if len(scores) < LEAST_CERTIFIED:
        return None
    a, b = fit_agreement(scores, agrees)
    thresholds = [{"agreement": one, "threshold": certified_threshold(scores, agrees, one)} for one in AGREEMENTS]
    name = test.rows[0]["cloud"].rsplit("@", 1)[0]
    return {
        "model": name,
        "cloudDigest": test.rows[0]["cloud_digest"],
        "n": int(len(scores)),
        "confidence": CONFIDENCE,
        "a": round(a, 6),
        "b": round(b, 6),
        "thresholds": thresholds,
    }


def route_scores(logits: np.ndarray) -> np.ndarray:
    """Log-odds margin of the best label: its logit less the log-sum-exp of the others (docs/design/router.md 3)."""
    ordered = np.sort(logits.astype(np.float64), 1)
    rest = ordered[:, :-1]
    most = rest[:, -1:]
    return ordered[:, -1] - (most[:, 0] + np.log(np.exp(rest - most).sum(1)))


def allowed_disagreements(n: int, risk: float) -> int:
    """The most disagreements in n with which a risk above `risk` is refuted (Clopper and Pearson 1934)."""
    term = n * math.log1p(-risk)
    odds = math.log(risk) - math.log1p(-risk)
    tail, k = math.exp(term), -1
    while k < n and tail <= 1 - CONFIDENCE:
        k += 1
        term += math.log((n - k) / (k + 1)) + odds if k < n else 0
        tail += math.exp(term)
    return k


def certified_threshold(scores: np.ndarray, agrees: np.ndarray, agreement: float) -> float | None:
    """The lowest score that may stay local, rounded up to the safe side."""
    allowed = allowed_disagreements(len(scores), 1 - agreement)
    if allowed < 0:
        return None
    wrong = np.sort(scores[~agrees])[::-1]
    kept = scores[scores > wrong[allowed]] if len(wrong) > allowed else scores
    return math.ceil(float(kept.min()) * 1e4) / 1e4 if len(kept) else None


def fit_agreement(scores: np.ndarray, agrees: np.ndarray) -> tuple[float, float]:
    """P(agrees) = sigmoid(a * score + b), with Platt's targets (1999), by Newton's method."""
    yes, no = agrees.sum(), (~agrees).sum()
    target = np.where(agrees, (yes + 1) / (yes + 2), 1 / (no + 2))
    curve = np.array([0.0, math.log((yes + 1) / (no + 1))])
    points = np.stack([scores, np.ones(len(scores))], 1)
    loss = lambda c: float(np.logaddexp(0, points @ c).sum() - target @ (points @ c))
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(points @ curve, -500, 500)))
        step = np.linalg.solve(points.T @ (points * (p * (1 - p))[:, None]) + 1e-9 * np.eye(2), points.T @ (target - p))
        size = 1.0
        while size > 1e-9 and loss(curve + size * step) > loss(curve) - 1e-12:
            size /= 2
        if size <= 1e-9:
            break
        curve = curve + size * step
    return float(curve[0]), float(curve[1])


def begin_folder(base: Path, out: Path) -> dict:
    """A copy of the base without its graph and card. Returns its outrider.json."""
    spec = json.loads((base / "outrider.json").read_text(encoding="utf-8"))
    for path in [one for one in spec["files"] if one != spec["model"]]:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / path, out / path)
    return spec


def end_folder(base: Path, out: Path, spec: dict, golden: list[dict], cloud: dict | None, figures: dict) -> None:
    """outrider.json with its digests, and a card that says what it was made of. The base's calibration was of other weights."""
    digest = lambda path: hashlib.sha256((out / path).read_bytes()).hexdigest()
    files = {path: digest(path) for path in sorted(spec["files"])}
    rest = {key: value for key, value in spec.items() if key not in ("golden", "files", "calibration")}
    calibration = {"calibration": {"cloud": cloud}} if cloud else {}
    write_json(out / "outrider.json", {**rest, **calibration, "golden": golden, "files": files})
    card = (base / "README.md").read_text(encoding="utf-8") if (base / "README.md").exists() else f"# {spec['name']}\n"
    note = card.split("\n## Distilled from captures")[0].rstrip()
    lines = "\n".join(f"- {key}: {value}" for key, value in figures.items())
    (out / "README.md").write_text(f"{note}\n\n## Distilled from captures\n\n{lines}\n", encoding="utf-8")


def judge(base_logits: np.ndarray, new_logits: np.ndarray, test: Captures, anyway: bool) -> dict:
    """How often base and new version agree with the cloud on what was held apart. @raises SystemExit where it has become no better"""
    shares = [weighted_share(logits.argmax(1) == test.answers, test.rows) for logits in (base_logits, new_logits)]
    figures = {"heldApart": len(test), "agreementBefore": round(shares[0], 4), "agreementAfter": round(shares[1], 4)}
    log(json.dumps(figures))
    if not anyway and not shares[1] > shares[0]:
        raise SystemExit(f"it agrees with the cloud on {shares[1]:.1%} of what was held apart, the version before on {shares[0]:.1%}: not written")
    return figures
