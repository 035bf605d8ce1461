"""Paired differences and McNemar's test, beside coins counted out and worlds whose truth is known."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from eval.metrics.intervals.significance import difference, mcnemar
from eval.metrics.intervals.spread import Resamples


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 50))
def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ(first, second, both):
    right_of_first = np.array([True] * first + [False] * second + [True] * both, dtype=bool)
    right_of_second = np.array([False] * first + [True] * second + [True] * both, dtype=bool)
    found = mcnemar(right_of_first, right_of_second)
    coins = first + second
    tail = sum(comb(coins, heads) for heads in range(min(first, second) + 1))
    expected = min(1.0, 2 * tail / 2**coins)
    assert found[:2] == (first, second)
    assert found[2] == pytest.approx(expected, rel=1e-9)


def runs_of(*resamples, pairs=0.0):
    """A run for each array of a figure of 200 people, whose resamples deviate half as far; so do those of its pairs."""
    scatter = np.random.default_rng(9).normal(0, pairs / 2, 200)
    halved = [values.mean() + (values - values.mean()) / 2 for values in resamples]
    return [Resamples(values.mean(), values, values.mean() + scatter, 200) for values in halved]


def test_a_difference_is_paired_on_the_resamples():
    shared = np.random.default_rng(0).normal(0, 0.2, 1000)  # what is hard about a resample is hard for both
    noise = np.random.default_rng(1).normal(0, 0.01, 1000)
    found = difference(runs_of(0.9 + shared), runs_of(0.85 + shared + noise), 0.05)
    assert found.value == 0.05
    assert 0.02 < found.interval[0] < 0.05 < found.interval[1] < 0.08
    assert found.p == pytest.approx(2 / 1001)


def test_what_is_counted_too_often_makes_no_difference_less_sure():
    """Resamples scatter by 0.03, of which independent pairs make 0.015: √(0.03² − 0.015²) = 0.026 is left."""
    scatter = np.random.default_rng(0).normal(0.05, 0.03, 1000)
    narrow = difference(runs_of(scatter, pairs=0.015), runs_of(np.zeros(1000)), 0.05)
    wide = difference(runs_of(scatter), runs_of(np.zeros(1000)), 0.05)
    assert narrow.interval == pytest.approx([0.05 - 0.0512, 0.05 + 0.0512], abs=0.005)
    assert wide.interval == pytest.approx([0.05 - 0.0592, 0.05 + 0.0592], abs=0.005)
    assert narrow.p == pytest.approx(2 * t.sf(0.05 / 0.026, 199), rel=0.25)
    assert wide.p == pytest.approx(2 * t.sf(0.05 / 0.03, 199), rel=0.2)


def test_no_difference_has_a_p_of_one_and_swapping_changes_the_sign_alone():
    a, b = (runs_of(values) for values in np.random.default_rng(0).normal(size=(2, 500)))
    assert difference(a, a, 0.0).p == 1
    one, other = difference(a, b, 0.1), difference(b, a, -0.1)
    assert one.p == other.p
    assert one.interval == pytest.approx([-other.interval[1], -other.interval[0]])


def test_seeds_that_scatter_make_the_interval_wider():
    people = np.random.default_rng(0).normal(0, 0.001, 1000)
    still = difference(runs_of(*[0.9 + people] * 3), runs_of(0.8 + people), 0.1)
    scattered = difference(runs_of(0.8 + people, 0.9 + people, 1.0 + people), runs_of(0.8 + people), 0.1)
    assert scattered.interval[1] - scattered.interval[0] > 10 * (still.interval[1] - still.interval[0])
    of_mean = np.std([0.8, 0.9, 1.0]) / np.sqrt(3)
    assert np.ptp(scattered.interval) == pytest.approx(2 * t.ppf(0.975, 199) * of_mean, rel=0.05)


def test_a_figure_that_most_resamples_lack_has_no_test():
    lacking = [Resamples(0.5, np.where(np.arange(100) < 20, np.nan, 0.5), np.full(20, 0.5), 200)]
    assert difference(lacking, lacking, 0.0) == (0.0, None, None)
