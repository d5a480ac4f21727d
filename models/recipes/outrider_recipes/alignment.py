"""Which source token a target token translates: IBM Model 1 (Brown et al., 1993) with a preference for the diagonal."""

import numpy as np

ROUNDS = 5
# As in fast_align (Dyer et al., 2013): how fast the preference falls with the distance from the diagonal, 0..1.
STEEPNESS = 4.0


def align(sources: list[list[int]], targets: list[list[int]], words: int) -> list[np.ndarray]:
    """f32[T,S] for each pair: the probability of each source token to be what each target token translates; rows sum to 1."""
    translates = np.full((words, words), 1 / words, np.float32)
    priors = [diagonal(len(target), len(source)) for source, target in zip(sources, targets)]
    for _ in range(ROUNDS):
        counts = np.zeros_like(translates)
        for source, target, prior in zip(sources, targets, priors):
            cells = np.ix_(target, source)
            np.add.at(counts, cells, posterior(translates[cells] * prior))
        # translates[t,s] = P(target token t | source token s)
        translates = counts / np.maximum(counts.sum(0, keepdims=True), 1e-9)
    pairs = zip(sources, targets, priors)
    return [posterior(translates[np.ix_(target, source)] * prior) for source, target, prior in pairs]


def diagonal(target: int, source: int) -> np.ndarray:
    """f32[T,S]"""
    rows, columns = np.arange(target)[:, None] / target, np.arange(source)[None] / source
    return np.exp(-STEEPNESS * np.abs(rows - columns)).astype(np.float32)


def posterior(joint: np.ndarray) -> np.ndarray:
    return joint / np.maximum(joint.sum(1, keepdims=True), 1e-12)
