"""The classification report and the confusion matrix of pairs at a threshold, by scikit-learn.

Imported where it is used: it takes a tenth of a script's start, and is needed at the end.
"""

import numpy as np

from eval.verification import checked

KINDS = ("same", "different")


def confusion(distances: np.ndarray, same: np.ndarray, threshold: float) -> np.ndarray:
    """Counts, int64 (2, 2): rows are the truth, columns the judgement, each in the order same, different."""
    from sklearn.metrics import confusion_matrix

    truth, judged = _names(distances, same, threshold)
    return confusion_matrix(truth, judged, labels=KINDS)


def report(distances: np.ndarray, same: np.ndarray, threshold: float) -> tuple[str, dict]:
    """Precision, recall and F1 of "same" and "different" with their means: as printed text, and as a dict.

    A kind that is never judged has precision 0, a kind that is missing recall 0.
    """
    from sklearn.metrics import classification_report

    truth, judged = _names(distances, same, threshold)
    options = {"labels": list(KINDS), "zero_division": 0.0}
    text = classification_report(truth, judged, digits=4, **options)
    return text, classification_report(truth, judged, output_dict=True, **options)


def _names(distances: np.ndarray, same: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    distances, same = checked(distances, same)
    return np.where(same, *KINDS), np.where(distances <= threshold, *KINDS)
