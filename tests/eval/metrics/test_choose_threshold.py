"""Thresholds chosen on one list and judged on another."""

import numpy as np
import pytest

from eval.metrics.choose_threshold import choose_thresholds, operating_points

SAME = np.array([True] * 4 + [False] * 100)
DISTANCES = np.concatenate([[0.2, 0.3, 0.4, 0.95], np.linspace(0.9, 1.9, 100)])
CONDITION = np.array(["plain-plain", "masked-masked"])[np.arange(104) % 2]


def test_thresholds_are_chosen_for_the_balance_and_for_each_rate_that_the_pairs_can_show():
    chosen = choose_thresholds(DISTANCES, SAME, CONDITION)
    assert list(chosen) == ["all pairs", "plain-plain", "masked-masked"]
    assert chosen["all pairs"].keys() == {"balanced", "1e-1"}  # 100 different pairs show a FAR of 0.1, not of 0.01
    assert chosen["plain-plain"].keys() == {"balanced"}
    assert np.mean(DISTANCES[~SAME] <= chosen["all pairs"]["1e-1"]) == pytest.approx(0.1)


def test_a_threshold_from_elsewhere_is_judged_on_the_test_pairs_of_its_condition():
    thresholds = {"all pairs": {"balanced": 0.5, "1e-1": 1.0}, "masked-masked": {"balanced": 0.35}, "gone": {"1e-1": 1}}
    points = operating_points(thresholds, DISTANCES, SAME, CONDITION)
    assert [(p.pairs, p.rule, p.threshold) for p in points] == [
        ("all pairs", "balanced", 0.5), ("all pairs", "1e-1", 1.0), ("masked-masked", "balanced", 0.35),
    ]  # fmt: skip
    balanced, strict, masked = points
    assert (balanced.tar, balanced.far, balanced.accuracy) == (0.75, 0.0, pytest.approx(103 / 104))
    assert strict.far == pytest.approx(np.mean(DISTANCES[~SAME] <= 1.0)) and strict.tar == 1.0
    assert (masked.tar, masked.far) == (0.5, 0.0)  # of its two same pairs, 0.3 and 0.95


def test_one_kind_of_pairs_gives_the_rates_it_can():
    assert choose_thresholds(DISTANCES[SAME], SAME[SAME], CONDITION[SAME])["all pairs"] == {}
    (point,) = operating_points({"all pairs": {"balanced": 0.35}}, DISTANCES[SAME], SAME[SAME], np.full(4, "all"))
    assert (point.tar, point.far) == (0.5, None)
