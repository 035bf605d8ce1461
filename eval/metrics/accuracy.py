"""Figures at a threshold: accuracy, precision and recall, ten folds, the classification report. NumPy and scikit-learn.

A pair is classified as "same" where its distance ≤ threshold. Figures that need both kinds of pairs are None where one
is missing.
"""

import numpy as np

from eval.metrics.choose_threshold import best_threshold_of
from eval.metrics.distances import checked, one_kind_only
from eval.metrics.roc import curve_of_sorted

FOLDS = 10


def accuracy(distances: np.ndarray, same: np.ndarray, threshold: float) -> float | None:
    """Share of pairs classified correctly; None without pairs."""
    distances, same = checked(distances, same)
    return float(((distances <= threshold) == same).mean()) if len(same) else None


def balanced_accuracy(distances: np.ndarray, same: np.ndarray, threshold: float) -> float | None:
    """Mean of the share of same pairs accepted and the share of different pairs rejected."""
    distances, same = checked(distances, same)
    if one_kind_only(same):
        return None
    accepted = distances <= threshold
    return float((accepted[same].mean() + (~accepted[~same]).mean()) / 2)


def precision_recall_f1(
    distances: np.ndarray, same: np.ndarray, threshold: float
) -> tuple[float | None, float | None, float | None]:
    """Precision, recall and F1 of "same".

    The share of accepted pairs that are same pairs, the share of same pairs accepted, and the harmonic mean of the two.
    Precision is 0 if nothing is accepted, as in scikit-learn; all are None if a kind is missing.
    """
    distances, same = checked(distances, same)
    if one_kind_only(same):
        return None, None, None
    accepted = distances <= threshold
    hits = int((accepted & same).sum())
    total = int(accepted.sum())
    precision = hits / total if total else 0.0
    return precision, hits / int(same.sum()), 2 * hits / (total + int(same.sum()))


def fold_accuracies(
    distances: np.ndarray, same: np.ndarray, seed: int = 0, folds: np.ndarray | None = None
) -> np.ndarray | None:
    """Accuracy of each of ten folds at the threshold that is best on the other nine: float64 (10,).

    ``folds`` int (P,), 0 … 9, each with a pair: a list's own, such as those of LFW's protocol, which share no person
    (Huang et al. 2007). Otherwise they are drawn from the seed and balanced: each kind of pair is shuffled and dealt
    out evenly; None with fewer than ten pairs of either kind.
    """
    distances, same = checked(distances, same)
    folds = deal_folds(distances, same, seed) if folds is None else folds
    if folds is None:
        return None
    order = np.argsort(distances, kind="stable")
    distances, same, folds = distances[order], same[order], folds[order]
    accuracies = []
    for fold in range(FOLDS):
        held_out = folds == fold
        threshold = best_threshold_of(curve_of_sorted(distances[~held_out], same[~held_out]))
        accuracies.append(((distances[held_out] <= threshold) == same[held_out]).mean())
    return np.array(accuracies)


def deal_folds(distances: np.ndarray, same: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """Fold 0 … 9 of each pair for ``fold_accuracies``: int64 (P,); None with fewer than ten pairs of either kind.

    Dealt in the order of the distances, so that the folds do not depend on the order of the list.
    """
    if min(same.sum(), (~same).sum()) < FOLDS:
        return None
    rng = np.random.default_rng(seed)
    order = np.argsort(distances, kind="stable")
    folds = np.empty(len(same), dtype=np.int64)
    for kind in (same, ~same):
        of_kind = order[kind[order]]
        folds[of_kind] = rng.permutation(np.arange(len(of_kind)) % FOLDS)
    return folds


KINDS = ("same", "different")


def confusion(distances: np.ndarray, same: np.ndarray, threshold: float) -> np.ndarray:
    """Counts, int64 (2, 2): rows are actual, columns predicted, each in the order same, different."""
    from sklearn.metrics import confusion_matrix

    actual, predicted = _names(distances, same, threshold)
    return confusion_matrix(actual, predicted, labels=KINDS)


def report(distances: np.ndarray, same: np.ndarray, threshold: float) -> tuple[str, dict]:
    """Precision, recall and F1 of "same" and "different" with their means: as printed text, and as a dict.

    A kind that is never predicted has precision 0, a kind that is missing recall 0.
    """
    from sklearn.metrics import classification_report

    actual, predicted = _names(distances, same, threshold)
    options = {"labels": list(KINDS), "zero_division": 0.0}
    text = classification_report(actual, predicted, digits=4, **options)
    return text, classification_report(actual, predicted, output_dict=True, **options)


def _names(distances: np.ndarray, same: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    distances, same = checked(distances, same)
    return np.where(same, *KINDS), np.where(distances <= threshold, *KINDS)
