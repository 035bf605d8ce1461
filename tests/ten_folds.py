"""LFW's protocol as anybody would write it: pair by pair, threshold by threshold."""

from collections.abc import Sequence

import numpy as np


def ten_folds(rows: np.ndarray, pairs: Sequence[tuple[int, int, bool, int]]) -> tuple[float, float]:
    """Mean and standard deviation of ten accuracies; ``pairs``: two numbers of rows, whether same, and the fold."""
    squared = []
    for i, j, _, _ in pairs:
        a, b = rows[i].astype(float), rows[j].astype(float)
        a, b = a / np.sqrt((a * a).sum()), b / np.sqrt((b * b).sum())
        squared.append(float(((a - b) ** 2).sum()))

    def accuracy(threshold: float, chosen: list[int]) -> float:
        return sum((squared[p] < threshold) == bool(pairs[p][2]) for p in chosen) / len(chosen)

    accuracies = []
    for fold in range(10):
        others = [p for p, pair in enumerate(pairs) if pair[3] != fold]
        best = max((0.01 * step for step in range(400)), key=lambda at: (accuracy(at, others), -at))
        accuracies.append(accuracy(best, [p for p, pair in enumerate(pairs) if pair[3] == fold]))
    return float(np.mean(accuracies)), float(np.std(accuracies))
