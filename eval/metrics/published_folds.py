"""Ten-fold accuracy to the letter of the field's evaluation (LFW's protocol as InsightFace runs it). NumPy only.

It differs in four ways from ``eval.metrics.accuracy.fold_accuracies``, this project's own: the folds are the list's,
not drawn; distances are squared, in float64; thresholds lie on a grid; the standard deviation is that of the ten values
(no degree of freedom taken off).
"""

from typing import NamedTuple

import numpy as np

from eval.metrics.accuracy import FOLDS
from eval.metrics.distances import unit_rows

THRESHOLDS = np.arange(0, 4, 0.01)

# Pairs gathered at a time: 8192 × 512 float64 are 32 MiB.
_CHUNK = 8192


class FoldAccuracy(NamedTuple):
    """Mean and standard deviation of the ``accuracies``, float64 (10,), and each fold's threshold, squared L2 (10,)."""

    mean: float
    std: float
    accuracies: np.ndarray
    thresholds: np.ndarray


def consecutive_folds(pairs: int) -> np.ndarray:
    """Fold 0 … 9 of each pair in the order of the list, int64 (pairs,): the first ones have one pair more where ten
    does not divide them, as in scikit-learn's KFold."""
    sizes = np.full(FOLDS, pairs // FOLDS) + (np.arange(FOLDS) < pairs % FOLDS)
    return np.repeat(np.arange(FOLDS), sizes)


def squared_distances(sums: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of pairs of rows, normalised first: float (N, D), two int64 (P,) → float64 (P,) in [0, 4]."""
    found = np.empty(len(left))
    for start in range(0, len(left), _CHUNK):
        part = slice(start, start + _CHUNK)
        one, other = (unit_rows(sums[side[part]].astype(np.float64)) for side in (left, right))
        difference = one - other
        found[part] = np.einsum("pd,pd->p", difference, difference)
    return found


def published_fold_accuracy(squared: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """Accuracy of each fold at the threshold that is best on the other nine; of equally good ones, the smallest.

    ``squared`` float (P,) squared L2 distances, ``same`` bool (P,), ``folds`` int (P,), 0 … 9, each with a pair at
    least. A pair is "same" if its squared distance is *below* the threshold.
    """
    counts = np.bincount(folds, minlength=FOLDS)
    if len(counts) != FOLDS or not counts.all():
        raise ValueError(f"{FOLDS} folds with pairs are needed; these have {counts.tolist()} pairs")
    right = np.zeros((FOLDS, len(THRESHOLDS)), np.int64)
    for fold in range(FOLDS):
        near, far = (np.sort(squared[(folds == fold) & kind]) for kind in (same, ~same))
        right[fold] = np.searchsorted(near, THRESHOLDS) + len(far) - np.searchsorted(far, THRESHOLDS)
    others = right.sum(0) - right
    # Counts, not shares: a tie is exact.
    best = others.argmax(1)
    accuracies = right[np.arange(FOLDS), best] / counts
    return FoldAccuracy(float(accuracies.mean()), float(accuracies.std()), accuracies, THRESHOLDS[best])
