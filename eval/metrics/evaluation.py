"""One evaluation: embeddings and a list of pairs in, all figures out. Run after each epoch and in the test."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eval.metrics.choose_threshold import best_threshold
from eval.metrics.distances import pair_distances
from eval.metrics.figures import figures
from runtime.errors import InputError

THRESHOLD_METRIC = "balanced_accuracy"


class Pairs(Protocol):
    """A list of P pairs over N images, from any source.

    ``left`` and ``right`` int64 (P,) number the images; ``same`` bool (P,); ``condition`` str (P,), "all" where it is
    not known; ``people`` int64 (P, 2); ``masks`` str (P, 2) or None; ``sides`` float (P, 2) or None; ``folds`` int64
    (P,), the list's own ten, or None.
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    condition: np.ndarray
    people: np.ndarray
    masks: np.ndarray | None
    sides: np.ndarray | None
    folds: np.ndarray | None


@dataclass(frozen=True)
class Evaluation:
    """Pairs, their distances float64 (P,), and ``figures``, the dict of ``eval.metrics.figures`` at one threshold."""

    pairs: Pairs
    distances: np.ndarray
    figures: dict

    @property
    def same(self) -> np.ndarray:
        """Whether each pair is of one person: bool (P,)."""
        return self.pairs.same

    @property
    def condition(self) -> np.ndarray:
        """The mask condition of each pair: str (P,)."""
        return self.pairs.condition

    @property
    def threshold(self) -> float | None:
        """The distance up to which a pair is predicted to be the same person."""
        return self.figures["threshold"]

    @property
    def iou(self) -> float | None:
        """Overlap of the two histograms: lower is better, and selects the checkpoint."""
        return self.figures["iou"]

    @property
    def auc(self) -> float | None:
        """Area under the ROC; breaks ties of the IOU."""
        return self.figures["auc"]

    @property
    def accuracy(self) -> float | None:
        """Share of pairs classified correctly at the threshold."""
        return self.figures["accuracy"]


def choose_threshold_and_evaluate(embeddings: np.ndarray, pairs: Pairs) -> Evaluation:
    """Evaluation pairs: the threshold with the best balanced accuracy is chosen on them. Without intervals.

    Embeddings float (N, D), unit rows. Raises InputError if all pairs are of one kind, as there is nothing to
    choose from, and on NaN.
    """
    distances = pair_distances(embeddings, pairs.left, pairs.right)
    threshold = best_threshold(distances, pairs.same)
    if threshold is None:
        kind = "same" if np.all(pairs.same) else "different"
        raise InputError(
            f"all {len(pairs.same)} evaluation pairs are {kind} pairs; a threshold needs both: give both pair CSVs"
        )
    return Evaluation(pairs, distances, figures(distances, pairs.same, pairs.condition, threshold))


def evaluate_pairs(embeddings: np.ndarray, pairs: Pairs, threshold: float | None) -> Evaluation:
    """Test pairs: the given threshold, chosen elsewhere, is applied. None: figures that need no threshold.

    With 95 % intervals over people, by condition, by mask and by the faces' size.
    """
    distances = pair_distances(embeddings, pairs.left, pairs.right)
    details = {"people": pairs.people, "masks": pairs.masks, "sides": pairs.sides, "folds": pairs.folds}
    found = figures(distances, pairs.same, pairs.condition, threshold, **details)
    return Evaluation(pairs, distances, found)
