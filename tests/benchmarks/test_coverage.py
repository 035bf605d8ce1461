"""The simulation behind the intervals: few sets of a hard cell, and the bars."""

import numpy as np
import pytest

from benchmarks.coverage import Cell, World, add_bars, draw
from benchmarks.harness.table import Report


@pytest.fixture(scope="module")
def cell() -> Cell:
    """100 people at 99.2 %; the threshold and the truth are those that ``World.of`` finds."""
    truth = {
        "accuracy": 0.99213, "balanced_accuracy": 0.99213, "precision": 0.99155, "recall": 0.99272, "f1": 0.99214,
        "fold_accuracy": 0.99212, "auc": 0.99968, "eer": 0.00787, "iou": 0.00793, "tar 1e-1": 0.99981,
        "tar 1e-2": 0.99358,
    }  # fmt: skip
    return Cell.of(World(0.72, 1.0975, truth), people=100, sets=40)


def test_intervals_near_perfection_hold_the_truth(cell):
    """Percentiles of drawn people hold that of the AUC in eight of ten sets, and that of precision in all."""
    for name in ("accuracy", "precision", "recall", "auc", "iou", "eer", "fold_accuracy"):
        assert cell.coverage[name] >= 0.87, name  # 0.95 less two standard errors of 40 sets


def test_figures_with_hardly_an_error_have_no_bar(cell):
    assert cell.given["tar 1e-1"] < 0.1 and "tar 1e-1" not in cell.barred()
    assert cell.given["accuracy"] > 0.9 and "accuracy" in cell.barred()


def test_pairs_of_a_set_share_people_and_are_half_and_half():
    pairs = draw(np.random.default_rng(0), people=30, noise=0.8)
    assert pairs.same.mean() == 0.5
    np.testing.assert_array_equal(pairs.people[:, 0] == pairs.people[:, 1], pairs.same)
    assert len(np.unique(pairs.people)) == 30
    assert np.all((pairs.distances >= 0) & (pairs.distances <= 2))
    assert pairs.distances[pairs.same].mean() < pairs.distances[~pairs.same].mean() - 0.3


def test_a_bar_names_the_worst_cell_and_few_sets_make_bars_wide():
    held = {(100, 92.0): {"auc": 0.95}, (400, 99.2): {"auc": 0.91, "iou": 0.95}}
    full, quick = Report("coverage"), Report("coverage")
    add_bars(full, held, sets=1000)
    add_bars(quick, held, sets=40)
    assert [bar.name for bar in full.bars if not bar.holds] == ["auc: lowest coverage (400 people, 99.2 %)"]
    assert len(full.bars) == 4 and all(bar.holds for bar in quick.bars)
