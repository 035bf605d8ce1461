"""Embeddings and pairs in, figures out; the report and the confusion matrix beside counts by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from eval.metrics.accuracy import confusion, report
from eval.metrics.evaluation import choose_threshold_and_evaluate, evaluate_pairs
from eval.metrics.figures import figures
from eval.report.figure_tables import figures_table
from runtime.errors import InputError


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


SAME = np.array([True, True, False, False])


def pairs_of_four(same: np.ndarray = SAME) -> SimpleNamespace:
    """Two people with two images each."""
    return SimpleNamespace(
        left=np.array([0, 2, 0, 1]),
        right=np.array([1, 3, 2, 3]),
        same=same,
        condition=np.array(["plain-plain", "masked-masked", "plain-plain", "masked-masked"]),
        people=np.array([[0, 0], [1, 1], [0, 1], [0, 1]]),
        masks=None,
        sides=None,
        folds=None,
    )


def test_threshold_is_chosen_on_the_evaluation_pairs():
    # Chords: same pairs 2 sin 5° and 2 sin 10°, different pairs 2 sin 45° and 2 sin 50°.
    found = choose_threshold_and_evaluate(on_a_circle(0, 10, 90, 110), pairs_of_four())
    chords = 2 * np.sin(np.deg2rad([5, 10, 45, 50]))
    np.testing.assert_allclose(found.distances, chords, atol=1e-6)
    assert found.threshold == pytest.approx((chords[1] + chords[2]) / 2, abs=1e-6)
    assert (found.accuracy, found.auc, found.iou) == (1.0, 1.0, 0.0)
    assert found.figures["by_condition"]["masked-masked"]["pairs"] == 2


def test_threshold_from_elsewhere_is_applied_to_test_pairs_as_it_is():
    found = evaluate_pairs(on_a_circle(0, 10, 90, 110), pairs_of_four(), 0.2)
    assert found.threshold == 0.2
    assert found.accuracy == 0.75  # 2 sin 10° = 0.347 is taken for two people
    assert evaluate_pairs(on_a_circle(0, 10, 90, 110), pairs_of_four(), None).accuracy is None


@pytest.mark.parametrize(("same", "kind"), [(True, "same"), (False, "different")])
def test_a_threshold_needs_both_kinds_of_pairs(same, kind):
    with pytest.raises(InputError, match=f"all 4 evaluation pairs are {kind} pairs"):
        choose_threshold_and_evaluate(on_a_circle(0, 1, 2, 3), pairs_of_four(np.full(4, same)))


def test_confusion_matrix_and_report_equal_counts_by_hand():
    distances = np.array([0.1, 0.2, 0.9, 0.3, 1.0, 1.1, 1.2])
    same = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
    assert confusion(distances, same, 0.5).tolist() == [[2, 1], [1, 3]]
    text, values = report(distances, same, 0.5)
    assert values["same"]["precision"] == pytest.approx(2 / 3)
    assert values["same"]["recall"] == pytest.approx(2 / 3)
    assert values["different"]["precision"] == pytest.approx(3 / 4)
    assert values["different"]["f1-score"] == pytest.approx(3 / 4)
    assert "same     0.6667    0.6667    0.6667         3" in text


def test_a_distance_at_the_threshold_is_the_same_person():
    assert confusion([0.5, 0.5], [True, False], 0.5).tolist() == [[1, 0], [1, 0]]


def test_report_of_one_kind_of_pairs_has_both_rows():
    assert confusion([0.1, 0.9], [True, True], 0.5).tolist() == [[1, 1], [0, 0]]
    _, values = report([0.1, 0.9], [True, True], 0.5)
    assert values["different"]["support"] == 0
    assert values["different"]["recall"] == 0


def test_table_has_a_column_for_each_condition_and_says_what_can_not_be_said():
    rng = np.random.default_rng(0)
    same = np.arange(400) < 200
    distances = np.where(same, rng.uniform(0, 1, 400), rng.uniform(0.9, 2, 400))
    condition = np.where(np.arange(400) % 2, "plain-plain", "masked-masked")
    table = figures_table(figures(distances, same, condition, 0.95))
    lines = {line[:18].strip(): line[18:].split("  ") for line in table.splitlines()}
    cells = {name: [cell.strip() for cell in row if cell.strip()] for name, row in lines.items()}
    assert cells[""] == ["all pairs", "plain-plain", "masked-masked"]
    assert cells["same pairs"] == ["200", "100", "100"]
    assert cells["accuracy"][0] == f"{100 * np.mean((distances <= 0.95) == same):.2f} %"
    assert cells["TAR at FAR 1e-3"] == ["too few pairs"] * 3
    assert len({len(line) for line in table.splitlines()}) == 1


def test_table_marks_figures_with_too_few_errors_for_an_interval():
    rng = np.random.default_rng(0)
    one = np.arange(400) % 40
    same = np.arange(400) < 200
    people = np.stack([one, np.where(same, one, (one + 1 + np.arange(400) // 40) % 40)], axis=1)
    good = np.where(same, rng.uniform(0, 1.2, 400), rng.uniform(0.6, 2, 400))
    perfect = np.where(same, 0.5, 1.5)
    tables = [
        figures_table(figures(distances, same, ["all"] * 400, 0.95, people=people)) for distances in (good, perfect)
    ]
    legend = "(–): too few errors for an interval"
    assert "accuracy" in tables[0] and "(–)" not in tables[0]
    assert tables[1].splitlines()[-1] == legend
    assert next(line for line in tables[1].splitlines() if line.startswith("accuracy")).endswith("100.00 % (–)")
    old = figures(perfect, same, ["all"] * 400, 0.95, people=people)
    old["intervals"] = {"accuracy": [1.0, 1.0], "tar_at_far": {}}
    assert "(–)" not in figures_table(old)  # metrics of older versions


def test_table_without_a_threshold_has_no_accuracy_at_one():
    found = figures(np.array([0.1, 1.0]), np.array([True, False]), ["all", "all"], None)
    table = figures_table(found)
    assert "\naccuracy" not in table and "balanced accuracy" not in table
    assert "10-fold accuracy" in table
