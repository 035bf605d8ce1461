"""Shares of errors removed, against counting by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from eval import compare
from study.answers import errors_removed

CONDITIONS = ("plain-plain", "masked-masked")
THRESHOLD = 1.0


def _tested(wrong, people=40):
    """A run with a same and a different pair a person and condition; ``wrong``: condition → people judged wrongly."""
    rows = []
    for condition in CONDITIONS:
        for person in range(people):
            error = person in wrong[condition]
            rows.append([f"{person}a", f"{person}b", True, condition, person, person, 1.5 if error else 0.5])
            rows.append([f"{person}a", "x", False, condition, person, (person + 1) % people, 1.5])
    columns = ["path", "pair_path", "same", "condition", "person", "pair_person", "distance"]
    return compare.TestedRun("run", {}, [], {"threshold": THRESHOLD}, pd.DataFrame(rows, columns=columns))


def test_the_share_is_that_of_the_errors_counted():
    before = _tested({"plain-plain": {0, 1}, "masked-masked": set(range(10))})
    seeds = [
        _tested({"plain-plain": {0, 1, 2}, "masked-masked": {0, 1}}),
        _tested({"plain-plain": {0}, "masked-masked": {3, 4, 20, 21}}),
    ]
    found = errors_removed(seeds, before)
    assert found["plain-plain"]["seeds"] == [pytest.approx(-0.5), pytest.approx(0.5)]
    assert found["masked-masked"]["seeds"] == [pytest.approx(0.8), pytest.approx(0.6)]
    assert found["all pairs"]["seeds"] == [pytest.approx(7 / 12), pytest.approx(7 / 12)]
    assert found["masked-masked"]["mean"] == pytest.approx(0.7)
    low, high = found["masked-masked"]["interval"]
    assert low < 0.7 < high


def test_nothing_removed_and_all_removed_have_no_width():
    before = _tested({"plain-plain": set(), "masked-masked": set(range(12))})
    perfect = _tested({"plain-plain": set(), "masked-masked": set()})
    same, none = errors_removed([before], before), errors_removed([perfect], before)
    assert same["masked-masked"] == {"seeds": [0.0], "mean": 0.0, "interval": [0.0, 0.0]}
    assert none["masked-masked"] == {"seeds": [1.0], "mean": 1.0, "interval": [1.0, 1.0]}
    assert "plain-plain" not in none  # no error to remove


def test_the_interval_is_paired_over_people():
    """Half of the errors removed, evenly over people: hard people weigh on both, so that the share moves less than
    the errors do."""
    before = _tested({"plain-plain": {0}, "masked-masked": set(range(20))})
    half = _tested({"plain-plain": {0}, "masked-masked": set(range(0, 20, 2))})
    low, high = errors_removed([half], before)["masked-masked"]["interval"]
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(2000):
        drawn = np.bincount(rng.integers(40, size=40), minlength=40)
        shares.append(1 - drawn[0:20:2].sum() / drawn[:20].sum())
    assert (low, high) == pytest.approx(np.percentile(shares, [2.5, 97.5]), abs=0.03)


def test_pairs_without_a_condition_still_have_a_share_over_all():
    before = _tested({"plain-plain": {0, 1}, "masked-masked": {5, 6}})
    unknown = dataclasses.replace(before, pairs=before.pairs.assign(condition="all"))
    assert errors_removed([unknown], unknown)["all pairs"]["mean"] == 0
