"""Intervals over people: against lists in which pairs are really repeated, and against worlds whose truth is known."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eval.metrics import figures as module_of_figures
from eval.metrics.accuracy import accuracy, balanced_accuracy, deal_folds, precision_recall_f1
from eval.metrics.choose_threshold import best_threshold
from eval.metrics.distances import iou
from eval.metrics.figures import figures
from eval.metrics.intervals import bootstrap, resampling
from eval.metrics.intervals.bootstrap import intervals, losses_of_accuracy, resampled_figures
from eval.metrics.intervals.resampling import PairWeights, PersonWeights, SumsByKey
from eval.metrics.roc import auc, curve, eer

RATES = {"1e-1": 0.1}
slow = settings(deadline=None, max_examples=25, derandomize=True)


def made_up(seed: int, people: int = 12, pairs: int = 60, digits: int = 1):
    """Distances with many ties, half of the pairs of one person, the others of two."""
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) < pairs // 2
    one = rng.integers(people, size=pairs)
    other = np.where(same, one, (one + rng.integers(1, people, pairs)) % people)
    hard = rng.normal(0, 0.3, people)
    distances = np.clip(np.where(same, 0.8, 1.3) + hard[one] + rng.normal(0, 0.2, pairs), 0, 2).round(digits)
    return distances, same, np.stack([one, other], axis=1) * 7 + 3


def naive_weights(people: np.ndarray, resamples: int, seed: int):
    """Each person drawn as often as the same generator says; each draw brings half of a pair, of a same pair the second
    half comes once."""
    names = sorted(set(people.ravel().tolist()))
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = [names[i] for i in rng.integers(len(names), size=len(names))]
        yield [drawn.count(a) + (1 if a == b else drawn.count(b)) for a, b in people.tolist()]


def naive_coins(people: np.ndarray, resamples: int, seed: int):
    """Each different pair has one half or three, as the bits of the same generator say."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        bits = "".join(f"{byte:08b}" for byte in rng.bytes(len(people) // 8 + 1))
        yield [2 if a == b else 1 + 2 * int(bit) for (a, b), bit in zip(people.tolist(), bits, strict=False)]


def naive_folds(distances, same, folds):
    accuracies = []
    for fold in range(10):
        inside = folds == fold
        if inside.any():
            threshold = best_threshold(distances[~inside], same[~inside])
            if threshold is None:
                return np.nan
            accuracies.append(accuracy(distances[inside], same[inside], threshold))
    return np.mean(accuracies)


def naive_figures(distances, same, folds, threshold):
    pairs = curve(distances, same)
    precision, recall, f1 = precision_recall_f1(distances, same, threshold)
    allowed = np.floor(0.1 * (~same).sum() + 1e-9)
    tar = max([same[distances <= d].sum() for d in [-1, *distances] if (~same[distances <= d]).sum() <= allowed])
    return {
        "accuracy": accuracy(distances, same, threshold),
        "balanced_accuracy": balanced_accuracy(distances, same, threshold),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "auc": auc(pairs),
        "eer": eer(pairs),
        "iou": iou(distances, same),
        "fold_accuracy": naive_folds(distances, same, folds),
        "tar 1e-1": tar / same.sum(),
    }


@slow
@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 1.05, 2.0]))
@example(14, 0.5)  # a resample whose different pairs are all of one fold: no threshold for that fold
@example(420, 0.5)
def test_figures_equal_those_of_lists_with_really_repeated_pairs(seed, threshold):
    distances, same, people = made_up(seed)
    folds = deal_folds(distances, same)
    options = {"threshold": threshold, "folds": folds, "rates": RATES, "resamples": 20, "seed": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "PAIR_RESAMPLES", 10)
        found = resampled_figures(distances, same, people, **options)
    kinds = {
        "value": [np.ones(len(same), int)],
        "by_people": naive_weights(people, 20, seed=4),
        "by_pairs": naive_coins(people, 10, seed=4),
    }
    for kind, all_weights in kinds.items():
        lists = [[np.repeat(array, weights) for array in (distances, same, folds)] for weights in all_weights]
        expected = [naive_figures(*of_list, threshold) for of_list in lists]
        assert set(found) == set(expected[0])
        for name, figure in found.items():
            values = np.array([of_list[name] for of_list in expected], float)
            assert np.atleast_1d(getattr(figure, kind)) == pytest.approx(values, abs=1e-12, nan_ok=True), (name, kind)


def test_weights_stay_in_the_order_of_their_pairs():
    _, same, people = made_up(3)
    for weights in (PersonWeights(people, 5), PairWeights(people, 5)):
        before = np.array(list(weights))
        sums = list(SumsByKey(same.astype(int), 2).of(weights))
        np.testing.assert_array_equal(sums, [[row[~same].sum(), row[same].sum()] for row in before])
        np.testing.assert_array_equal(list(weights), before)


def test_each_draw_of_a_person_brings_half_of_their_pairs():
    people = np.array([[0, 0], [1, 1], [0, 1], [1, 0]] + [[i, i] for i in range(2, 30)])
    halves = np.stack(list(PersonWeights(people, resamples=400, seed=1))).astype(int)
    drawn = halves[:, [0, 1, *range(4, 32)]] - 1
    assert (drawn.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(halves[:, 2], drawn[:, 0] + drawn[:, 1])
    np.testing.assert_array_equal(halves[:, 3], halves[:, 2])


def test_same_and_different_pairs_keep_their_shares_on_average():
    _, same, people = made_up(0, people=40, pairs=4000)
    for weights in (PersonWeights(people, resamples=2000), PairWeights(people, resamples=2000)):
        halves = np.stack(list(weights)).astype(float)
        assert halves[:, same].mean() == pytest.approx(2, abs=0.03)
        assert halves[:, ~same].mean() == pytest.approx(2, abs=0.03)


def test_many_distances_are_binned_without_moving_the_ends(monkeypatch):
    distances, same, people = made_up(3, people=60, pairs=6000, digits=9)
    options = {"threshold": 1.05, "folds": deal_folds(distances, same), "resamples": 100}
    rates = {"1e-1": 0.1, "1e-2": 0.01}
    binned = intervals(distances, same, people, rates=rates, **options)
    monkeypatch.setattr(resampling, "_MOST_BINS", 10**9)
    exact = intervals(distances, same, people, rates=rates, **options)
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "iou"):
        assert binned[name] == pytest.approx(exact[name], abs=1e-12)  # threshold and histogram edges are bin ends
    for name in ("auc", "eer", "fold_accuracy"):
        assert binned[name] == pytest.approx(exact[name], abs=2e-3), name
    for rate in rates:
        assert binned["tar_at_far"][rate] == pytest.approx(exact["tar_at_far"][rate], abs=5e-3)


def test_intervals_cover_the_truth_and_pairs_taken_as_independent_do_not():
    """40 people, 25 same pairs each, whose share of errors differs from person to person: 0.3 on average."""
    by_people, by_pairs = 0, 0
    for world in range(100):
        rng = np.random.default_rng(world)
        hard = rng.beta(0.6, 1.4, 40)  # mean 0.3
        one = np.repeat(np.arange(40), 25)
        wrong = rng.random(1000) < hard[one]
        distances = np.concatenate([np.where(wrong, 1.5, 0.5), np.full(40, 1.9)])
        same = np.arange(1040) < 1000
        others = np.stack([np.arange(40), (np.arange(40) + 1) % 40], axis=1)
        people = np.concatenate([np.stack([one, one], axis=1), others])
        low, high = intervals(distances, same, people, threshold=1.0, folds=None, rates={}, resamples=200, seed=world)[
            "recall"
        ]
        by_people += low <= 0.7 <= high
        spread = 1.96 * np.sqrt(wrong.mean() * (1 - wrong.mean()) / 1000)
        by_pairs += abs(wrong.mean() - 0.3) <= spread
    assert 87 <= by_people <= 99
    assert by_pairs < 60


def test_the_iou_of_few_pairs_is_held_by_its_interval():
    """The truth is that of very many pairs; each world has 600 of 100 people."""

    def world(seed: int, people: int, pairs: int):
        rng = np.random.default_rng(seed)
        same = np.arange(pairs) < pairs // 2
        one = rng.integers(people, size=pairs)
        other = np.where(same, one, (one + rng.integers(1, people, pairs)) % people)
        distances = np.where(same, rng.normal(0.95, 0.17, pairs), rng.normal(1.38, 0.09, pairs))
        return np.clip(distances, 0, 2), same, np.stack([one, other], axis=1)

    truth = iou(*world(1, 10, 1_000_000)[:2])
    held = 0
    for seed in range(40):
        distances, same, people = world(seed, 100, 600)
        options = {"threshold": None, "folds": None, "rates": {}, "resamples": 100}
        low, high = intervals(distances, same, people, **options)["iou"]
        held += low <= truth <= high
    assert held >= 36  # percentiles: 28


def test_few_people_and_one_kind_of_pairs_have_no_interval():
    distances, same, people = made_up(1)
    options = {"threshold": 1.0, "folds": None, "rates": {}}
    assert intervals(distances, same, people % 9, **options) is None
    assert intervals(distances[same], same[same], people[same], **options) is None
    assert intervals(distances, same, people, **options)["accuracy"] is not None


def test_a_perfect_list_has_no_intervals_and_a_collapsed_one_has_some_of_no_width():
    _, same, people = made_up(2)
    options = {"threshold": 1.0, "folds": None, "rates": RATES, "resamples": 50}
    perfect = intervals(np.where(same, 0.5, 1.5), same, people, **options)
    assert perfect.pop("tar_at_far") == {"1e-1": None}
    assert set(perfect.values()) == {None}
    collapsed = intervals(np.zeros(len(same)), same, people, **options)
    assert collapsed["auc"] == collapsed["eer"] == [0.5, 0.5]
    assert collapsed["iou"] is collapsed["tar_at_far"]["1e-1"] is None


def test_a_kind_of_pairs_that_rests_on_one_person_gives_no_interval():
    _, _, people = made_up(5)
    same = people[:, 0] == people[:, 1]
    same[1:] = False
    options = {"threshold": 1.0, "folds": None, "rates": {}, "resamples": 60}
    found = intervals(np.linspace(0, 2, len(same)), same, people, **options)
    assert found.pop("tar_at_far") == {} and set(found.values()) == {None}


def test_every_figure_of_a_list_has_an_interval_around_it():
    distances, same, people = made_up(6, people=50, pairs=2000, digits=3)
    condition = np.array(["plain-plain", "masked-masked"])[np.arange(2000) % 2]
    masks = np.array([["", "cloth"], ["N95", "cloth"]])[np.arange(2000) % 2]
    found = figures(distances, same, condition, 1.05, people=people, masks=masks)
    assert found["people"] == 50
    for part in (found, *found["by_condition"].values(), *found["by_mask"].values()):
        for name, ends in part["intervals"].items():
            value = part[name]
            pairs = [(value, ends)] if name != "tar_at_far" else [(value[rate], ends[rate]) for rate in ends]
            for figure, (low, high) in pairs:
                assert low - 0.02 <= figure <= high + 0.02 and high > low, name
        assert set(part["intervals"]["tar_at_far"]) == {r for r, tar in part["tar_at_far"].items() if tar is not None}


def test_threads_change_no_figure(monkeypatch):
    distances, same, people = made_up(7, people=40, pairs=1500, digits=3)
    condition = np.array(["plain-plain", "plain-masked", "masked-masked"])[np.arange(1500) % 3]
    masks = np.where(condition == "plain-plain", "", "cloth")[:, None].repeat(2, axis=1)
    found = []
    for many in (10**9, 1):
        monkeypatch.setattr(module_of_figures, "_MANY_PAIRS", many)
        monkeypatch.setattr(module_of_figures, "available_cores", lambda: 3)
        found.append(figures(distances, same, condition, 1.05, people=people, masks=masks))
    assert found[0] == found[1]


def test_a_pair_counts_for_every_mask_that_one_of_its_faces_wears():
    masks = np.array([["", "cloth"], ["cloth", "N95"], ["N95", "N95"], ["", ""]])
    found = figures(np.array([0.1, 0.9, 0.2, 1.5]), np.array([1, 1, 0, 0]), ["all"] * 4, 0.5, masks=masks)
    assert {kind: (part["pairs"], part["accuracy"]) for kind, part in found["by_mask"].items()} == {
        "N95": (2, 0.0),
        "cloth": (2, 0.5),
    }


def test_the_loss_against_plain_faces_is_paired_over_people():
    """60 people of whom each makes 0.1 errors more with a mask: they differ much from each other, the loss does not."""
    hard = np.random.default_rng(0).uniform(0, 0.8, 60)
    one = np.tile(np.repeat(np.arange(60), 40), 2)
    masked = np.arange(len(one)) >= len(one) // 2
    wrong = (np.tile(np.arange(40), 120) + 0.5) / 40 < hard[one] + 0.1 * masked
    distances, same = np.where(wrong, 1.5, 0.5), np.ones(len(one), bool)
    condition, people = np.where(masked, "plain-masked", "plain-plain"), np.stack([one, one], axis=1)
    found = losses_of_accuracy(distances, same, condition, people, 1.0, "plain-plain")
    assert list(found) == ["plain-masked"]
    assert found["plain-masked"]["loss"] == pytest.approx(wrong[masked].mean() - wrong[~masked].mean())
    low, high = found["plain-masked"]["interval"]
    assert 0.09 < low < 0.1 < high < 0.11
    parts = figures(distances, same, condition, 1.0, people=people)["losses_against_plain"]
    assert parts == found
    few = losses_of_accuracy(distances, same, condition, people % 9, 1.0, "plain-plain")
    assert few["plain-masked"]["interval"] is None
