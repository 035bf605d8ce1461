"""All figures from weighted counts of pairs, for many resamples at once. NumPy only.

Counts are float64 (B, F, 2, K): B resamples, F folds, same and different pairs, K bins of distance, ascending. Each
figure is that of ``eval.metrics.accuracy``, ``roc`` or ``distances`` of a list in which pairs are really repeated.
"""

from collections.abc import Mapping

import numpy as np

from eval.metrics.accuracy import FOLDS
from eval.metrics.distances import BINS, MAX_DISTANCE


def tar_name(rate: str) -> str:
    """The name of TAR at a FAR among ``weighted_figures``."""
    return f"tar {rate}"


def weighted_figures(
    counts: np.ndarray, upper: np.ndarray, accepted: int | None, rates: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """All figures of (B, F, 2, K) counts, each float64 (B,), nan where a resample lacks what a figure needs."""
    together = counts.sum(1)
    same, different = np.moveaxis(together.cumsum(-1), 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "auc": _auc(together, different),
            "eer": _eer(same / same[:, -1:], different / different[:, -1:]),
            "iou": _iou(together, upper),
            **{tar_name(name): tar_of(same, different, rate) for name, rate in rates.items()},
        }
        if accepted is not None:
            found |= _judged(same, different, accepted)
        if counts.shape[1] == FOLDS:
            found["fold_accuracy"] = _fold_accuracy(counts, upper)
    return found


def _auc(counts: np.ndarray, different: np.ndarray) -> np.ndarray:
    total = different[:, -1]
    wins = counts[:, 0] * (total[:, None] - different + counts[:, 1] / 2)
    return wins.sum(-1) / (counts[:, 0].sum(-1) * total)


def _eer(accepts: np.ndarray, false_accepts: np.ndarray) -> np.ndarray:
    """As ``roc.eer``, for each row of the two curves (B, K)."""
    start = np.zeros((len(accepts), 1))
    false_accepts = np.concatenate([start, false_accepts], axis=1)
    gap = false_accepts - (1 - np.concatenate([start, accepts], axis=1))
    after = np.argmax(gap >= 0, axis=1)[:, None]
    low, high = (np.take_along_axis(gap, after - step, axis=1) for step in (1, 0))
    first, second = (np.take_along_axis(false_accepts, after - step, axis=1) for step in (1, 0))
    return (first - low / (high - low) * (second - first))[:, 0]


def _iou(counts: np.ndarray, upper: np.ndarray) -> np.ndarray:
    edges = np.linspace(0, MAX_DISTANCE, BINS + 1)
    bar = np.clip(np.searchsorted(edges, upper, side="right") - 1, 0, BINS - 1)
    starts = np.flatnonzero(np.diff(bar, prepend=-1))
    bars = np.add.reduceat(counts, starts, axis=-1)
    same, different = np.moveaxis(bars / bars.sum(-1, keepdims=True), 1, 0)
    return np.minimum(same, different).sum(-1) / np.maximum(same, different).sum(-1)


def tar_of(same: np.ndarray, different: np.ndarray, rate: float) -> np.ndarray:
    within = (different <= rate * different[:, -1:] * (1 + 1e-12)).sum(-1)
    return _up_to(same, within) / same[:, -1]


def _judged(same: np.ndarray, different: np.ndarray, accepted: int) -> dict[str, np.ndarray]:
    """Figures at a fixed threshold under which the first ``accepted`` bins lie."""
    bins = np.full(len(same), accepted)
    hits, false_accepts = _up_to(same, bins), _up_to(different, bins)
    all_same, all_different = same[:, -1], different[:, -1]
    rejected = all_different - false_accepts
    return {
        "accuracy": (hits + rejected) / (all_same + all_different),
        "balanced_accuracy": (hits / all_same + rejected / all_different) / 2,
        "precision": np.where(hits > 0, hits / (hits + false_accepts), 0.0),
        "recall": hits / all_same,
        "f1": 2 * hits / (hits + false_accepts + all_same),
    }


def _up_to(cumulated: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """What the first ``bins`` bins hold: cumulated (…, K), bins (…) → (…)."""
    last = np.take_along_axis(cumulated, np.maximum(bins - 1, 0)[..., None], axis=-1)[..., 0]
    return np.where(bins > 0, last, 0)


def _fold_accuracy(counts: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Mean over the folds of the accuracy at the threshold that is best on the others, as
    ``accuracy.fold_accuracies``; nan where the others of a fold are of one kind, which gives no threshold."""
    held_out = counts.cumsum(-1)
    others = held_out.sum(1, keepdims=True) - held_out
    same, different = others[:, :, 0], others[:, :, 1]
    score = same * different[..., -1:] - different * same[..., -1:]
    accepted = same + different
    score[accepted == 0] = -np.inf  # a bin before the first distance is no candidate
    best = np.argmax(score, axis=-1)
    # The threshold lies midway to the next distance of the other folds.
    following = (accepted <= np.take_along_axis(accepted, best[..., None], axis=-1)).sum(-1)
    middle = (upper[best] + upper[np.minimum(following, len(upper) - 1)]) / 2
    bins = np.where(following < len(upper), np.searchsorted(upper, middle, side="right"), best + 1)
    bins = np.maximum(bins, best + 1)
    right = _up_to(held_out[:, :, 0], bins) + held_out[:, :, 1, -1] - _up_to(held_out[:, :, 1], bins)
    right = np.where((others[..., -1] > 0).all(-1), right, np.nan)
    pairs = held_out[..., -1].sum(-1)
    shares = np.where(pairs > 0, right / pairs, 0)
    return shares.sum(-1) / (pairs > 0).sum(-1)
