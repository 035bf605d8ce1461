"""The field's ten-fold accuracy against the twenty naive lines that anybody would write."""

import numpy as np
import pytest

from eval.metrics.published_folds import consecutive_folds, published_fold_accuracy, squared_distances


def naive(sums: np.ndarray, left, right, same, folds) -> tuple[float, float]:
    """LFW's protocol, pair by pair and threshold by threshold."""
    distances = []
    for i, j in zip(left, right, strict=True):
        a, b = sums[i].astype(float), sums[j].astype(float)
        a, b = a / np.sqrt((a * a).sum()), b / np.sqrt((b * b).sum())
        distances.append(((a - b) ** 2).sum())
    thresholds = [0.01 * step for step in range(400)]

    def accuracy(threshold, pairs):
        return np.mean([(distances[p] < threshold) == same[p] for p in pairs])

    accuracies = []
    for fold in range(10):
        others = [p for p in range(len(same)) if folds[p] != fold]
        best = max(thresholds, key=lambda threshold: (accuracy(threshold, others), -threshold))
        accuracies.append(accuracy(best, [p for p in range(len(same)) if folds[p] == fold]))
    return float(np.mean(accuracies)), float(np.std(accuracies))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("pairs", [60, 47])
def test_equals_the_naive_protocol(seed, pairs):
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(30, 8)).astype(np.float32) * rng.uniform(0.1, 30, (30, 1)).astype(np.float32)
    left, right = rng.integers(0, 30, (2, pairs))
    squared = squared_distances(sums, left, right)
    same = squared + rng.normal(scale=0.7, size=pairs) < 2
    folds = consecutive_folds(pairs)
    found = published_fold_accuracy(squared, same, folds)
    assert (found.mean, found.std) == pytest.approx(naive(sums, left, right, same, folds), abs=1e-9)


def test_consecutive_folds_are_those_of_scikit_learn():
    from sklearn.model_selection import KFold

    for pairs in (10, 57, 600):
        folds = consecutive_folds(pairs)
        for number, (_, test) in enumerate(KFold(10).split(np.zeros(pairs))):
            assert (np.flatnonzero(folds == number) == test).all()


def test_a_fold_without_pairs_is_refused():
    with pytest.raises(ValueError, match="10 folds"):
        published_fold_accuracy(np.ones(9), np.ones(9, bool), np.arange(9))
