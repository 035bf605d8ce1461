"""Each figure against scikit-learn, a naive loop or a closed form, on random, tied and degenerate pairs."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from eval.metrics.accuracy import accuracy, balanced_accuracy, deal_folds, fold_accuracies, precision_recall_f1
from eval.metrics.choose_threshold import best_threshold
from eval.metrics.distances import distances_of_cosines, histograms, iou, pair_distances, unit_rows
from eval.metrics.figures import figures
from eval.metrics.roc import auc, curve, eer, tar_at_far, threshold_at_far
from runtime.errors import InputError

numeric = settings(deadline=None, max_examples=80, derandomize=True)


@st.composite
def pair_lists(draw: st.DrawFn, least: int = 1):
    """Distances on a grid of 33 values, so that ties are the rule, with both kinds of pairs."""
    kinds = st.lists(st.integers(0, 32), min_size=least, max_size=40)
    same, different = draw(kinds), draw(kinds)
    order = draw(st.permutations(range(len(same) + len(different))))
    distances = np.array(same + different)[order] / 16
    return distances, (np.arange(len(order)) < len(same))[order]


def random_pairs(seed: int, pairs: int = 2000, digits: int = 3):
    rng = np.random.default_rng(seed)
    same = rng.random(pairs) < 0.4
    distances = np.where(same, rng.normal(0.9, 0.25, pairs), rng.normal(1.3, 0.15, pairs))
    return np.clip(distances, 0, 2).round(digits), same


# ---- distances ----


def test_distances_equal_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    left, right = rng.integers(0, 50, (2, 20_001))
    expected = [np.linalg.norm(x[a] - x[b]) for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(pair_distances(x, left, right), expected, atol=1e-6)


def test_distance_of_equal_rows_is_exactly_zero_and_of_opposite_rows_at_most_two():
    row = np.random.default_rng(1).normal(size=512)
    row /= np.linalg.norm(row)
    found = pair_distances(np.stack([row, row, -row]), np.array([0, 0]), np.array([1, 2]))
    assert found[0] == 0
    assert 2 - 1e-6 < found[1] <= 2


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused_with_their_number(broken):
    x = np.eye(4)
    x[2, 0] = broken
    with pytest.raises(InputError, match=r"1 of 4 embeddings are not finite \(the first is number 2\)"):
        pair_distances(x, np.array([0, 2]), np.array([1, 3]))
    assert pair_distances(x, np.array([0]), np.array([1])) == pytest.approx([2**0.5])  # the broken row is not used


def test_rows_that_are_not_of_length_one_are_refused():
    with pytest.raises(InputError, match="not of length 1"):
        pair_distances(3 * np.eye(4), np.array([0]), np.array([1]))


# ---- histograms and IOU ----


def test_histograms_have_area_one_and_lose_no_pair_at_the_ends():
    distances = np.array([0.0, 2.0, 1.0, 0.0, 2.0])
    edges, h_same, h_different = histograms(distances, np.array([1, 1, 1, 0, 0]))
    assert len(edges) == 101 and edges[0] == 0 and edges[-1] == 2
    assert h_same.sum() * 0.02 == pytest.approx(1)
    assert h_different.sum() * 0.02 == pytest.approx(1)
    assert h_same[-1] == pytest.approx(1 / 3 / 0.02)


@numeric
@given(pair_lists())
def test_iou_equals_a_loop_over_bins(pairs):
    distances, same = pairs
    smaller = larger = 0.0
    for low in range(100):
        # Distances are multiples of 1/16; doubled hundredfold they fall into whole bins of width 0.02.
        inside = np.minimum(np.floor(distances * 50 + 1e-9), 99) == low
        a, b = inside[same].sum() / same.sum(), inside[~same].sum() / (~same).sum()
        smaller, larger = smaller + min(a, b), larger + max(a, b)
    assert iou(distances, same) == pytest.approx(smaller / larger)


@numeric
@given(st.lists(st.integers(1, 30), min_size=100, max_size=100))
def test_iou_is_the_originals_where_the_histograms_cross_once(steps):
    same_counts = np.cumsum(steps)[::-1]  # falls from bin to bin
    different_counts = same_counts[::-1]  # rises, with the same sum n
    n = same_counts.sum()
    crossing = 50
    overlap = same_counts[crossing:].sum() + different_counts[:crossing].sum()
    middles = (np.arange(100) + 0.5) * 0.02
    distances = np.concatenate([np.repeat(middles, same_counts), np.repeat(middles, different_counts)])
    same = np.arange(2 * n) < n
    assert iou(distances, same) == pytest.approx(overlap / (2 * n - overlap))


def test_iou_of_identical_and_of_disjoint_histograms():
    distances = np.random.default_rng(2).uniform(0, 2, 500)
    same = np.arange(1000) < 500
    assert iou(np.concatenate([distances, distances]), same) == pytest.approx(1)
    assert iou(np.concatenate([distances / 4, 1 + distances / 4]), same) == 0


def test_iou_does_not_depend_on_how_many_pairs_of_each_kind_there_are():
    distances, same = random_pairs(3)
    more = np.concatenate([distances, distances[same], distances[same]])
    assert iou(more, np.concatenate([same, np.ones(2 * same.sum(), bool)])) == pytest.approx(iou(distances, same))


# ---- threshold and accuracy ----


def naive_best(distances, same):
    """First of the best thresholds among the distances themselves, then moved halfway to the next distance."""
    distinct = sorted(set(distances.tolist()))
    scores = [(np.mean(distances[same] <= d) + np.mean(distances[~same] > d)) / 2 for d in distinct]
    best = next(i for i, score in enumerate(scores) if score > max(scores) - 1e-12)
    after = distinct[best + 1] if best + 1 < len(distinct) else distinct[best]
    return (distinct[best] + after) / 2, max(scores)


@numeric
@given(pair_lists())
def test_best_threshold_equals_brute_force(pairs):
    threshold, score = naive_best(*pairs)
    found = best_threshold(*pairs)
    assert found == pytest.approx(threshold)
    assert balanced_accuracy(*pairs, found) == pytest.approx(max(score, 0.5))


@numeric
@given(st.integers(0, 1000))
def test_no_threshold_is_better_than_the_best_one(seed):
    distances, same = random_pairs(seed, pairs=60, digits=6)
    best = balanced_accuracy(distances, same, best_threshold(distances, same))
    tried = [balanced_accuracy(distances, same, t) for t in np.linspace(-0.1, 2.1, 301)]
    assert best >= max(tried) - 1e-12


def test_best_threshold_of_separated_pairs_lies_in_the_middle_of_the_gap():
    assert best_threshold([0.25, 0.5, 1.0, 1.5], [1, 1, 0, 0]) == 0.75


def test_tied_thresholds_give_the_smallest():
    # Accepting one pair, or three, both judge three of four rightly.
    assert best_threshold([0.2, 0.4, 0.6, 0.8], [1, 0, 1, 0]) == pytest.approx(0.3)


def test_threshold_between_neighbouring_floats_still_separates_them():
    low = 1.0
    high = np.nextafter(low, 2)
    threshold = best_threshold([low, high], [1, 0])
    assert low <= threshold < high


def test_collapsed_pairs_have_a_threshold_and_chance_accuracy():
    same = np.arange(10) < 5
    assert best_threshold(np.zeros(10), same) == 0
    assert accuracy(np.zeros(10), same, 0.0) == 0.5


@numeric
@given(pair_lists(), st.integers(-1, 33))
def test_accuracies_equal_scikit_learn(pairs, sixteenths):
    distances, same = pairs
    threshold = sixteenths / 16
    judged = distances <= threshold
    assert accuracy(distances, same, threshold) == pytest.approx(np.mean(judged == same))
    assert balanced_accuracy(distances, same, threshold) == pytest.approx(balanced_accuracy_score(same, judged))


@numeric
@given(pair_lists(), st.integers(-1, 33))
def test_precision_recall_and_f1_equal_scikit_learn(pairs, sixteenths):
    distances, same = pairs
    judged = distances <= sixteenths / 16
    expected = precision_recall_fscore_support(same, judged, average="binary", zero_division=0.0)[:3]
    assert precision_recall_f1(distances, same, sixteenths / 16) == pytest.approx(expected)


def test_precision_recall_and_f1_need_both_kinds_of_pairs():
    assert precision_recall_f1([0.1, 0.2], [True, True], 1.0) == (None, None, None)


# ---- ROC figures ----


@numeric
@given(pair_lists())
def test_auc_equals_scikit_learn(pairs):
    assert auc(curve(*pairs)) == pytest.approx(roc_auc_score(pairs[1], -pairs[0]))


@numeric
@given(pair_lists())
def test_curve_counts_what_each_distance_accepts(pairs):
    distances, same = pairs
    found = curve(distances, same)
    assert found.distances.tolist() == sorted(set(distances.tolist()))
    for distance, accepted_same, accepted_different in zip(*found, strict=True):
        assert accepted_same == sum(d <= distance for d in distances[same])
        assert accepted_different == sum(d <= distance for d in distances[~same])


@numeric
@given(pair_lists())
def test_eer_is_where_the_interpolated_error_rates_meet(pairs):
    distances, same = pairs
    false_accepts, true_accepts, _ = roc_curve(same, -distances, drop_intermediate=False)
    # Bisection along the piecewise straight curve, whose parameter is its arc in the L1 norm.
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(false_accepts)) + np.abs(np.diff(true_accepts)))])
    low, high = 0.0, along[-1]
    for _ in range(60):
        middle = (low + high) / 2
        accepts, rejects = np.interp(middle, along, false_accepts), 1 - np.interp(middle, along, true_accepts)
        low, high = (middle, high) if accepts < rejects else (low, middle)
    assert eer(curve(distances, same)) == pytest.approx(np.interp(high, along, false_accepts), abs=1e-9)


def test_eer_of_perfect_useless_and_reversed_pairs():
    assert eer(curve([0.1, 0.2, 1.0, 1.1], [1, 1, 0, 0])) == 0
    assert eer(curve(np.ones(10), np.arange(10) < 3)) == pytest.approx(0.5)
    assert eer(curve([0.1, 0.2, 1.0, 1.1], [0, 0, 1, 1])) == pytest.approx(1)


@numeric
@given(st.integers(0, 300), st.sampled_from([1, 2, 6]), st.sampled_from([0.1, 0.05]))
def test_tar_at_far_equals_scikit_learns_curve(seed, digits, rate):
    distances, same = random_pairs(seed, pairs=600, digits=digits)
    false_accepts, true_accepts, _ = roc_curve(same, -distances, drop_intermediate=False)
    pairs = curve(distances, same)
    assert tar_at_far(pairs, rate) == pytest.approx(true_accepts[false_accepts <= rate + 1e-12].max())
    threshold = threshold_at_far(pairs, rate)
    assert np.mean(distances[~same] <= threshold) <= rate + 1e-12
    assert np.mean(distances[same] <= threshold) == pytest.approx(tar_at_far(pairs, rate))


def test_tar_accepts_exactly_the_allowed_share_in_spite_of_rounding():
    different = np.linspace(1, 1.9, 30_000)  # 0.001 × 30000 is 30.000000000000004 or 29.99…, by the order of factors
    distances = np.concatenate([different, [(different[28] + different[29]) / 2, different[29]]])
    same = np.arange(30_002) >= 30_000
    assert tar_at_far(curve(distances, same), 1e-3) == 1


@pytest.mark.parametrize(("different", "given"), [(999, False), (1000, True)])
def test_tar_is_given_only_with_ten_over_far_different_pairs(different, given):
    distances = np.concatenate([np.zeros(5), np.linspace(1, 2, different)])
    pairs = curve(distances, np.arange(5 + different) < 5)
    assert (tar_at_far(pairs, 1e-2) is not None) is given
    assert (threshold_at_far(pairs, 1e-2) is not None) is given


def test_tar_is_zero_where_the_closest_distance_already_accepts_too_many():
    pairs = curve(np.full(200, 0.7), np.arange(200) < 100)
    assert tar_at_far(pairs, 0.1) == 0
    assert threshold_at_far(pairs, 0.1) < 0.7


# ---- ten folds ----


@numeric
@given(pair_lists(least=10), st.integers(0, 9))
def test_each_fold_is_judged_at_the_threshold_that_is_best_on_the_other_nine(pairs, seed):
    distances, same = pairs
    folds = deal_folds(distances, same, seed)
    for kind in (same, ~same):
        counts = np.bincount(folds[kind], minlength=10)
        assert counts.max() - counts.min() <= 1 and len(counts) == 10
    expected = []
    for fold in range(10):
        inside = folds == fold
        threshold, _ = naive_best(distances[~inside], same[~inside])
        expected.append(np.mean((distances[inside] <= threshold) == same[inside]))
    assert fold_accuracies(distances, same, seed).tolist() == pytest.approx(expected)


def test_folds_are_as_good_as_one_threshold_on_separated_pairs():
    same = np.arange(40) < 20
    assert fold_accuracies(np.where(same, 0.5, 1.5), same).tolist() == [1.0] * 10


def test_folds_are_judged_by_a_threshold_from_elsewhere():
    """Labels by chance: a threshold chosen on the judged pairs would look better than chance, a foreign one not."""
    held_out, fitted = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        distances, same = rng.uniform(0, 2, 20), np.arange(20) < 10
        held_out.append(fold_accuracies(distances, same, seed).mean())
        fitted.append(accuracy(distances, same, best_threshold(distances, same)))
    assert np.mean(fitted) > 0.6
    assert 0.47 < np.mean(held_out) < 0.53


def test_folds_are_near_the_best_accuracy_on_many_pairs_and_repeat_with_their_seed():
    distances, same = random_pairs(5, pairs=4000)
    # Of equal numbers: on those the threshold of best balanced accuracy is that of best accuracy.
    keep = np.concatenate([np.flatnonzero(same)[:1000], np.flatnonzero(~same)[:1000]])
    distances, same = distances[keep], same[keep]
    folds = fold_accuracies(distances, same, seed=1)
    best = max(accuracy(distances, same, t) for t in np.unique(distances))
    assert best - 0.01 < folds.mean() <= best
    np.testing.assert_array_equal(folds, fold_accuracies(distances, same, seed=1))
    assert folds.tolist() != fold_accuracies(distances, same, seed=2).tolist()


def test_folds_need_ten_pairs_of_each_kind():
    assert fold_accuracies(np.linspace(0, 2, 100), np.arange(100) < 9) is None
    assert len(fold_accuracies(np.linspace(0, 2, 100), np.arange(100) < 10)) == 10


# ---- all figures ----


def test_figures_by_condition_are_those_of_the_pairs_alone():
    distances, same = random_pairs(6)
    condition = np.array(["masked-masked", "plain-plain", "plain-masked"])[np.arange(len(same)) % 3]
    found = figures(distances, same, condition, 1.1)
    assert list(found["by_condition"]) == ["plain-plain", "plain-masked", "masked-masked"]
    for name, part in found["by_condition"].items():
        chosen = condition == name
        alone = figures(distances[chosen], same[chosen], condition[chosen], 1.1)
        assert part == {name: value for name, value in alone.items() if name in part}
    assert found["pairs"] == 2000 == sum(f["pairs"] for f in found["by_condition"].values())
    assert found["accuracy"] == pytest.approx(np.mean((distances <= 1.1) == same))


def test_figures_are_plain_values_for_a_json_file():
    distances, same = random_pairs(7)
    found = figures(distances, same, np.full(len(same), "all"), 1.1)
    assert found["by_condition"] == {}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found["tar_at_far"]) == ["1e-1", "1e-2", "1e-3", "1e-4"]
    assert found["tar_at_far"]["1e-4"] is None
    accepted = distances <= found["threshold_at_far"]["1e-2"]
    assert found["tar_at_far"]["1e-2"] == pytest.approx(accepted[same].mean())


@pytest.mark.parametrize("kind", [True, False])
@pytest.mark.parametrize("pairs", [1, 50])
def test_figures_of_one_kind_of_pairs_give_what_can_be_given(kind, pairs):
    same = np.full(pairs, kind)
    found = figures(np.full(pairs, 0.5), same, np.full(pairs, "plain-plain"), 0.6)
    assert found["accuracy"] == (1.0 if kind else 0.0)
    for name in ("auc", "eer", "iou", "balanced_accuracy", "fold_accuracy"):
        assert found[name] is None
    assert set(found["tar_at_far"].values()) == {None}
    assert best_threshold(np.full(pairs, 0.5), same) is None


def test_figures_without_a_threshold_apply_none():
    distances, same = random_pairs(8)
    found = figures(distances, same, np.full(len(same), "all"), None)
    assert found["threshold"] is None and found["accuracy"] is None and found["balanced_accuracy"] is None
    assert found["auc"] == pytest.approx(roc_auc_score(same, -distances))


def test_nan_distances_are_refused_by_every_figure():
    distances, same = np.array([0.1, np.nan, 1.0]), np.array([True, True, False])
    calls = [iou, curve, best_threshold, fold_accuracies, histograms]
    calls += [lambda d, s: accuracy(d, s, 1.0), lambda d, s: balanced_accuracy(d, s, 1.0)]
    for call in [*calls, lambda d, s: figures(d, s, ["all"] * 3, 1.0)]:
        with pytest.raises(InputError, match="1 of 3 distances are not finite"):
            call(distances, same)


def test_distances_of_cosines_are_those_of_pairs_and_end_at_two():
    rows = unit_rows(np.random.default_rng(3).normal(size=(9, 5)))
    naive = [[np.linalg.norm(a - b) for b in rows] for a in rows]
    np.testing.assert_allclose(distances_of_cosines(rows @ rows.T), naive, atol=1e-7)
    assert distances_of_cosines(np.array([1 + 1e-9, -1 - 1e-9])).tolist() == [0, 2]


def test_unit_rows_keep_their_kind_and_leave_zeros_alone():
    rows = unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]])
