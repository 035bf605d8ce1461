"""One evaluation: embeddings and a list of pairs in, all figures out. Run after each epoch and in the test."""

from dataclasses import dataclass

import numpy as np

from eval.verification import best_threshold, figures, pair_distances
from runtime.errors import InputError

THRESHOLD_METRIC = "balanced_accuracy"


@dataclass(frozen=True)
class Evaluation:
    """Pairs, their distances, and the figures at one threshold.

    ``distances`` float64 (P,), ``same`` bool (P,), ``condition`` str (P,); ``figures`` is the plain dict of
    ``eval.verification.figures``, ready for a JSON file.
    """

    distances: np.ndarray
    same: np.ndarray
    condition: np.ndarray
    figures: dict

    @property
    def threshold(self) -> float | None:
        """The distance up to which a pair is judged the same person."""
        return self.figures["threshold"]

    @property
    def iou(self) -> float | None:
        """Overlap of the two histograms: lower is better, the rule that selects a checkpoint."""
        return self.figures["iou"]

    @property
    def auc(self) -> float | None:
        """Area under the ROC; breaks ties of the IOU."""
        return self.figures["auc"]

    @property
    def accuracy(self) -> float | None:
        """Share of pairs judged rightly at the threshold."""
        return self.figures["accuracy"]


def choose_threshold_and_evaluate(
    embeddings: np.ndarray, left: np.ndarray, right: np.ndarray, same: np.ndarray, condition: np.ndarray
) -> Evaluation:
    """Evaluation pairs: the threshold with the best balanced accuracy is chosen on them.

    Embeddings float (N, D) unit rows; ``left`` and ``right`` int64 (P,) index their rows. Raises InputError
    where all pairs are of one kind, as there is nothing to choose from, and on NaN.
    """
    distances = pair_distances(embeddings, left, right)
    threshold = best_threshold(distances, same)
    if threshold is None:
        kind = "same" if np.all(same) else "different"
        raise InputError(
            f"all {len(same)} evaluation pairs are {kind} pairs; a threshold needs both: give both pair CSVs"
        )
    return _evaluation(distances, same, condition, threshold)


def evaluate_pairs(
    embeddings: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    same: np.ndarray,
    condition: np.ndarray,
    threshold: float | None,
) -> Evaluation:
    """Test pairs: the given threshold, chosen elsewhere, is applied. None: figures that need no threshold."""
    return _evaluation(pair_distances(embeddings, left, right), same, condition, threshold)


def _evaluation(distances: np.ndarray, same: np.ndarray, condition: np.ndarray, threshold: float | None) -> Evaluation:
    same, condition = np.asarray(same, dtype=bool), np.asarray(condition)
    return Evaluation(distances, same, condition, figures(distances, same, condition, threshold))
