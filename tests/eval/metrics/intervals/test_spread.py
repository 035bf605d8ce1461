"""From resamples to intervals: beside closed forms of the variance, SciPy's exact intervals, and made-up resamples."""

import numpy as np
import pytest
from scipy.stats import binomtest

from eval.metrics.intervals.bootstrap import resampled_figures
from eval.metrics.intervals.spread import Resamples, interval_of_difference, interval_of_share


def judged(wrong: np.ndarray, same: np.ndarray, people: np.ndarray, figure: str = "accuracy") -> Resamples:
    """A figure of pairs of which ``wrong`` are judged wrongly, as a list of distances."""
    distances = np.where(wrong == same, 1.5, 0.5)
    return resampled_figures(distances, same, people, threshold=1.0, folds=None, rates={})[figure]


def clustered_variance(wrong: np.ndarray, people: np.ndarray) -> float:
    """Of a share over pairs of two people: the products of all two pairs that share somebody (Fafchamps & Gubert 2007),
    each once: the sums of the people squared, less what a pair with itself adds twice."""
    rest = wrong - wrong.mean()
    of_people = sum(np.bincount(side, rest, people.max() + 1) for side in people.T)
    return float((np.sum(of_people**2) - np.sum(rest**2)) / len(rest) ** 2)


@pytest.mark.parametrize("uneven", [0.0, 0.1, 0.3])
def test_the_spread_is_that_of_pairs_that_share_people(uneven):
    """Different pairs of 60 people, of whom some are mistaken for others more often; ten same pairs without errors."""
    rng = np.random.default_rng(5)
    one = rng.integers(60, size=3000)
    people = np.stack([one, (one + rng.integers(1, 60, 3000)) % 60], axis=1)
    likely = 0.3 + rng.uniform(-uneven, uneven, 60)[people].mean(axis=1)
    wrong = np.concatenate([rng.random(3000) < likely, np.zeros(10, bool)])
    same = np.arange(3010) >= 3000
    found = judged(wrong, same, np.concatenate([people, np.arange(10).repeat(2).reshape(-1, 2)]))
    expected = np.sqrt(clustered_variance(wrong[:3000].astype(float), people))
    assert found.spread() == pytest.approx(expected, rel=0.15)
    if not uneven:
        assert 2 * found.by_people.std() > 1.3 * expected  # people and pairs
        assert found.spread() == pytest.approx(np.sqrt(0.3 * 0.7 / 3000), rel=0.2)


def test_of_same_pairs_alone_the_halves_count_double():
    one = np.arange(40).repeat(5)
    people = np.concatenate([np.stack([one, one], axis=1), [[0, 1], [2, 3]]])
    wrong = np.random.default_rng(0).random(202) < 0.2
    wrong[200:] = False
    found = judged(wrong, np.arange(202) < 200, people)
    assert found.inflation() == pytest.approx(4, abs=0.05)


def recall_of(errors: int, more: int = 0) -> Resamples:
    """300 people with a same pair and a different pair each; ``errors`` people and ``more`` pairs of the first fail."""
    everybody = np.arange(300)
    pairs = [
        np.stack([everybody, everybody], 1),
        np.zeros((more, 2), int),
        np.stack([everybody, (everybody + 1) % 300], 1),
    ]
    people = np.concatenate(pairs)
    same = people[:, 0] == people[:, 1]
    wrong = same & ((np.arange(len(people)) < errors) | (np.arange(len(people)) >= 300))
    return judged(wrong, same, people, "recall")


@pytest.mark.parametrize("errors", [4, 10, 30, 150])
def test_of_independent_people_it_is_nearly_the_exact_interval(errors):
    """One same pair a person: errors are binomial. Clopper and Pearson's interval is a little too wide."""
    low, high = interval_of_share(recall_of(errors))
    exact = binomtest(300 - errors, 300).proportion_ci(0.95)
    assert [low, high] == pytest.approx([exact.low, exact.high], abs=0.25 * (exact.high - exact.low))


def test_too_few_errors_have_no_interval():
    """One error is too few, and so are ten of one person."""
    assert [interval_of_share(recall_of(errors)) is not None for errors in (0, 1, 3)] == [False, False, True]
    of_one = recall_of(0, more=10)
    assert of_one.value == pytest.approx(1 - 10 / 310)
    assert interval_of_share(of_one) is None and interval_of_difference(of_one) is not None


def test_an_interval_stays_within_0_and_1_and_holds_its_value():
    rng = np.random.default_rng(0)
    for value in (0.004, 0.3, 0.5, 0.97, 0.999):
        people = np.clip(rng.normal(value, 0.15 * value * (1 - value), 1000), 0, 1)
        found = Resamples(value, people, np.full(200, value), 50)
        low, high = interval_of_share(found)
        assert 0 < low < value < high < 1
        mirrored = interval_of_share(Resamples(1 - value, 1 - people, 1 - found.by_pairs, 50))
        assert [low, high] == pytest.approx([1 - end for end in mirrored[::-1]])


def test_a_biased_figure_is_moved_against_its_resamples():
    people = np.random.default_rng(0).normal(0.095, 0.005, 1000)
    found = Resamples(0.1, people, np.full(200, 0.1), 50)
    straight, moved = interval_of_share(found), interval_of_share(found, unbiased=False)
    assert straight[0] < moved[0] <= 0.1 < straight[1] < moved[1]


def test_fewer_people_make_wider_intervals():
    scatter = np.random.default_rng(0).normal(0.5, 0.02, 1000)
    for interval in (interval_of_share, interval_of_difference):
        ends = [interval(Resamples(0.5, scatter, np.full(200, 0.5), people)) for people in (10, 30, 1000)]
        assert np.ptp(ends[0]) > np.ptp(ends[1]) > np.ptp(ends[2])


def test_a_difference_is_as_sure_on_both_sides():
    scatter = np.random.default_rng(0).normal(0.02, 0.005, 100_000)
    ends = interval_of_difference(Resamples(0.02, scatter, np.full(200, 0.02), 10**6))
    assert ends == pytest.approx([0.02 - 0.0196, 0.02 + 0.0196], abs=2e-4)


@pytest.mark.parametrize("interval", [interval_of_share, interval_of_difference])
def test_a_figure_that_a_few_resamples_lack_has_an_interval_and_one_that_many_lack_has_none(interval):
    scatter = np.random.default_rng(0).normal(0.5, 0.02, 1000)
    for lacking, given in ((40, True), (60, False)):
        by_people = np.where(np.arange(1000) < lacking, np.nan, scatter)
        assert (interval(Resamples(0.5, by_people, np.full(200, 0.5), 50)) is not None) == given
