"""Greedy and beam search over an exported encoder and merged decoder, one sentence at a time."""

from pathlib import Path

import numpy as np

from .marian import cache_names
from .onnx_files import OnnxModel


class Translator:
    """B beams of one sentence; the graphs and names are those of `marian.export_graphs`."""

    def __init__(self, encoder: Path, decoder: Path, start: int, end: int, longest: int, fold: bool = False):
        self.encoder = OnnxModel(encoder, threads=1, fold=fold).session
        self.decoder = OnnxModel(decoder, threads=1, fold=fold).session
        self.start, self.end, self.longest = start, end, longest
        inputs = {entry.name: entry.shape for entry in self.decoder.get_inputs()}
        self.layers = sum(name.endswith(".decoder.key") for name in inputs)
        self.pasts = cache_names(self.layers, "past_key_values")
        _, self.heads, _, self.size = inputs[self.pasts[0]]

    def encode(self, ids: list[int]) -> np.ndarray:
        """f32[1,S,W]"""
        row = np.array([ids], np.int64)
        return self.encoder.run(None, {"input_ids": row, "attention_mask": np.ones_like(row)})[0]

    def step(self, encoded: np.ndarray, ids: np.ndarray, cache: list[np.ndarray] | None) -> tuple[np.ndarray, list[np.ndarray]]:
        """Log probabilities f32[B,V] after i64[B,T] new tokens, and the cache with them."""
        beams = len(ids)
        empty = np.zeros((beams, self.heads, 0, self.size), np.float32)
        feeds = {
            "encoder_attention_mask": np.ones((beams, encoded.shape[1]), np.int64),
            "input_ids": ids,
            "encoder_hidden_states": np.repeat(encoded, beams, 0),
            "use_cache_branch": np.array([cache is not None]),
        }
        feeds |= dict(zip(self.pasts, cache or [empty] * len(self.pasts)))
        logits, *present = self.decoder.run(None, feeds)
        last = logits[:, -1]
        shifted = last - last.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), present

    def greedy(self, ids: list[int], cached: bool = True) -> list[int]:
        """The likeliest token at every step, without start and end."""
        encoded, made, cache = self.encode(ids), [self.start], None
        while len(made) <= self.longest:
            new = made[-1:] if cached else made
            scores, present = self.step(encoded, np.array([new], np.int64), cache)
            cache = present if cached else None
            made.append(int(scores[0].argmax()))
            if made[-1] == self.end:
                return made[1:-1]
        return made[1:]

    def beam(self, ids: list[int], beams: int, length_penalty: float = 1.0) -> list[int]:
        """Of the sentences found, the one with the best sum of log probabilities over length^length_penalty."""
        encoded = self.encode(ids)
        sentences, sums, cache = [[self.start]], np.zeros(1), None
        finished: list[tuple[float, list[int]]] = []
        for length in range(1, self.longest + 1):
            newest = np.array([[sentence[-1]] for sentence in sentences], np.int64)
            scores, cache = self.step(encoded, newest, cache)
            total = sums[:, None] + scores
            best = np.argsort(-total, axis=None)[: 2 * beams]
            kept: list[tuple[int, int]] = []
            for place, (beam, token) in enumerate(zip(*np.unravel_index(best, total.shape))):
                if token == self.end and place < beams:
                    finished.append((total[beam, token] / length**length_penalty, sentences[beam][1:]))
                elif token != self.end and len(kept) < beams:
                    kept.append((int(beam), int(token)))
            sums = np.array([total[beam, token] for beam, token in kept])
            sentences = [[*sentences[beam], token] for beam, token in kept]
            cache = [tensor[[beam for beam, _ in kept]] for tensor in cache]
            if len(finished) >= beams and max(f[0] for f in finished) >= sums.max() / length**length_penalty:
                break
        finished += [(total / self.longest**length_penalty, s[1:]) for total, s in zip(sums, sentences)] if not finished else []
        return max(finished, key=lambda candidate: candidate[0])[1]
