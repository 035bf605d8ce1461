"""Paired differences and McNemar's test, beside coins counted out and worlds whose truth is known."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.significance import difference, mcnemar


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


def test_a_difference_is_paired_on_the_resamples():
    shared = np.random.default_rng(0).normal(0, 0.2, 1000)  # what is hard about a resample is hard for both
    noise = np.random.default_rng(1).normal(0, 0.01, 1000)
    found = difference((0.9 + shared)[None], (0.85 + shared + noise)[None], 0.05)
    assert found.value == 0.05
    assert 0.02 < found.interval[0] < 0.05 < found.interval[1] < 0.08
    assert found.p == pytest.approx(2 / 1001)


def test_no_difference_has_a_p_of_one_and_swapping_changes_the_sign_alone():
    a, b = np.random.default_rng(0).normal(size=(2, 1, 500))
    assert difference(a, a, 0.0).p == 1
    one, other = difference(a, b, 0.1), difference(b, a, -0.1)
    assert one.p == other.p
    assert one.interval == pytest.approx([-other.interval[1], -other.interval[0]])


def test_seeds_that_scatter_make_the_interval_wider():
    people = np.random.default_rng(0).normal(0, 0.001, (1, 1000))
    still = difference(0.9 + np.repeat(people, 3, axis=0), 0.8 + people, 0.1)
    scattered = difference(np.array([[0.8], [0.9], [1.0]]) + people, 0.8 + people, 0.1)
    assert scattered.interval[1] - scattered.interval[0] > 10 * (still.interval[1] - still.interval[0])


def test_a_figure_that_most_resamples_lack_has_no_test():
    lacking = np.where(np.arange(100) < 20, np.nan, 0.5)[None]
    assert difference(lacking, lacking, 0.0) == (0.0, None, None)
