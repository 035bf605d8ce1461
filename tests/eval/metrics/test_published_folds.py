"""The field's ten-fold accuracy against the twenty naive lines that anybody would write."""

import numpy as np
import pytest

from eval.metrics.figures import figures
from eval.metrics.published_folds import consecutive_folds, published_fold_accuracy, squared_distances
from tests.ten_folds import ten_folds


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [60, 47])
def test_equals_the_naive_protocol(seed, count):
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(30, 8)).astype(np.float32) * rng.uniform(0.1, 30, (30, 1)).astype(np.float32)
    left, right = rng.integers(0, 30, (2, count))
    squared = squared_distances(sums, left, right)
    same = squared + rng.normal(scale=0.7, size=count) < 2
    folds = consecutive_folds(count)
    found = published_fold_accuracy(squared, same, folds)
    pairs = list(zip(left, right, same, folds, strict=True))
    assert (found.mean, found.std) == pytest.approx(ten_folds(sums, pairs), abs=1e-9)


def test_consecutive_folds_are_those_of_scikit_learn():
    from sklearn.model_selection import KFold

    for pairs in (10, 57, 600):
        folds = consecutive_folds(pairs)
        for number, (_, test) in enumerate(KFold(10).split(np.zeros(pairs))):
            assert (np.flatnonzero(folds == number) == test).all()


def test_a_fold_without_pairs_is_refused():
    with pytest.raises(ValueError, match="10 folds"):
        published_fold_accuracy(np.ones(9), np.ones(9, bool), np.arange(9))


def test_the_projects_own_figure_uses_a_lists_folds_with_exact_thresholds():
    rng = np.random.default_rng(3)
    same = np.arange(200) % 2 == 0
    distances = np.where(same, 0.9, 1.1) + rng.normal(0, 0.2, 200)
    folds = rng.permutation(np.arange(200) % 10)
    accuracies = []
    for fold in range(10):
        others, own = folds != fold, folds == fold
        # Balanced accuracy chooses, as for every threshold of the project.
        best = max(
            np.sort(distances[others]),
            key=lambda at: (distances[others & same] <= at).mean() + (distances[others & ~same] > at).mean(),
        )
        accuracies.append(((distances[own] <= best) == same[own]).mean())
    found = figures(distances, same, np.full(200, "all"), None, folds=folds)
    assert found["fold_accuracy"] == pytest.approx(np.mean(accuracies), abs=0.011)
    drawn = figures(distances, same, np.full(200, "all"), None)
    a_fold_too_few = figures(distances, same, np.full(200, "all"), None, folds=np.where(folds == 9, 0, folds))
    assert found["fold_accuracy"] != drawn["fold_accuracy"] == a_fold_too_few["fold_accuracy"]
