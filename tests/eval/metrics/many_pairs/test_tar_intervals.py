"""Intervals without a look at each pair in each resample: the same resamples as those that do look."""

import numpy as np
import pytest

from eval.metrics.intervals import bootstrap
from eval.metrics.intervals.weighted_figures import tar_name
from eval.metrics.many_pairs import tar_intervals
from eval.metrics.many_pairs.tar_intervals import near_pairs, pairs_needed, resampled_tars

RATES = {"1e-1": 1e-1, "1e-2": 1e-2}
PEOPLE, PAIRS = 40, 6000


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    same = rng.random(PAIRS) < 0.3
    one = rng.integers(PEOPLE, size=PAIRS)
    other = np.where(same, one, (one + rng.integers(1, PEOPLE, PAIRS)) % PEOPLE)
    hard = rng.normal(0, 0.1, PEOPLE)
    distances = np.where(same, rng.normal(0.9, 0.2, PAIRS), rng.normal(1.3, 0.12, PAIRS)) + hard[one] + hard[other]
    # 200 values, so that each is a bin of its own in either way.
    return np.clip(distances, 0, 2).round(2), same, np.stack([one, other], axis=1)


def test_resamples_of_people_are_those_of_weighted_pairs(pairs):
    distances, same, people = pairs
    slow = bootstrap.resampled_figures(distances, same, people, threshold=None, folds=None, rates=RATES)
    quick = resampled_tars(near_pairs(distances, same, people, 0.1), RATES)
    for name in RATES:
        one, other = slow[tar_name(name)], quick[name]
        assert one.value == other.value and one.people == other.people
        np.testing.assert_allclose(other.by_people, one.by_people, rtol=0, atol=1e-12)
        assert other.by_pairs.mean() == pytest.approx(one.by_pairs.mean(), abs=0.01)
        assert other.by_pairs.std() == pytest.approx(one.by_pairs.std(), rel=0.3)


def test_bins_taken_a_few_at_a_time_give_the_same(pairs, monkeypatch):
    near = near_pairs(*pairs, 0.1)
    whole = resampled_tars(near, RATES)["1e-1"].by_people
    monkeypatch.setattr(tar_intervals, "_ENTRIES", 3 * PEOPLE)
    np.testing.assert_array_equal(resampled_tars(near, RATES)["1e-1"].by_people, whole)


def test_near_pairs_are_all_same_ones_and_twice_as_many_different_ones_as_the_rate_accepts(pairs):
    distances, same, people = pairs
    near = near_pairs(distances, same, people, 0.1)
    different = int((~same).sum())
    assert near.same.sum() == same.sum()
    assert 0.2 * different <= (~near.same).sum() < 0.25 * different  # ties of the last
    assert near.different_of.sum() == 2 * different
    assert pairs_needed(1e-6, 5) == 1 and pairs_needed(0.9, 5) == 5


def test_few_people_have_no_interval_and_many_have_one_around_the_figure(pairs):
    distances, same, people = pairs
    few = (people < bootstrap.LEAST_PEOPLE - 1).all(axis=1)
    assert tar_intervals.tar_intervals(near_pairs(distances[few], same[few], people[few], 0.1), RATES) is None
    near = near_pairs(distances, same, people, 0.1)
    found = tar_intervals.tar_intervals(near, RATES)
    for name, figure in resampled_tars(near, RATES).items():
        low, high = found[name]
        assert 0 < low < figure.value < high < 1
