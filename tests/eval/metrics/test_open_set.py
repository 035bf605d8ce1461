"""A door's figures: against naive counts, and intervals against those of drawn doors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eval.metrics.identification import Probes, identification_figures
from eval.metrics.open_set import door_figures, rates_of, threshold_at


def door(seed: int, people: int = 60, strangers: int = 120, each: int = 3, spread: float = 0.12) -> Probes:
    """Probes of people some of whom are easy and some hard, and of as many strangers."""
    rng = np.random.default_rng(seed)
    distances = rng.normal(1.3, 0.06, ((people + strangers) * each, people))
    owners = np.repeat(np.arange(people + strangers), each)
    truth = np.where(owners < people, owners, -1)
    hard = np.repeat(rng.normal(0, spread, people + strangers), each)
    rows = np.flatnonzero(truth >= 0)
    distances[rows, truth[rows]] = 0.85 + hard[rows] + rng.normal(0, 0.1, len(rows))
    distances[truth < 0] += 0.5 * hard[truth < 0, None]
    return Probes.of(distances, truth, owners)


@given(arrays(int, (8, 4), elements=st.integers(0, 9)), st.lists(st.integers(-1, 3), min_size=8, max_size=8))
def test_shares_are_those_of_identification(tenths, truth):
    distances, truth = tenths / 10, np.array(truth)
    probes = Probes.of(distances, truth, np.arange(8))
    found = door_figures(probes, {"stored": 0.35})
    known = identification_figures(probes, 0.35)
    for name in ("rank_1", "rank_5"):
        assert found[name]["share"] == (None if known[name] is None else pytest.approx(known[name]))
    point = found["points"]["stored"]
    for mine, other in (("tpir", "recognised"), ("fpir", "stranger_accepted")):
        assert point[mine]["share"] == (None if known[other] is None else pytest.approx(known[other]))
    assert set(found["points"]) == {"stored"}  # eight probes: no rate can be given


def test_tpir_at_a_rate_is_that_of_the_largest_threshold_that_keeps_to_it():
    probes = door(0)
    found = door_figures(probes, {})
    assert set(found["points"]) == {"FPIR 10 %"}  # 360 strangers: ten of 1 % would need 1,000
    stranger, known = probes.rank == 0, probes.rank > 0
    best = 0.0
    for threshold in np.unique(np.concatenate([probes.nearest, probes.own[np.isfinite(probes.own)]])):
        if (probes.nearest[stranger] <= threshold).mean() <= 0.1:
            best = max(best, float((probes.own[known] <= threshold).mean()))
    assert found["points"]["FPIR 10 %"]["tpir"]["share"] == pytest.approx(best)
    threshold = found["points"]["FPIR 10 %"]["threshold"]
    assert threshold == threshold_at(probes, 0.1) and (probes.nearest[stranger] <= threshold).mean() <= 0.1
    assert (probes.own[known] <= threshold).mean() == pytest.approx(best)


def test_enough_strangers_for_one_percent():
    assert {"FPIR 10 %", "FPIR 1 %"} == set(door_figures(door(1, people=12, strangers=350), {})["points"])


def test_curve_passes_through_every_threshold():
    probes = door(2)
    fpir, tpir = rates_of(probes)
    assert fpir[0] == tpir[0] == 0 and fpir[-1] == 1 and (np.diff(fpir) >= 0).all() and (np.diff(tpir) >= 0).all()
    here = (probes.nearest[probes.rank == 0] <= 1.0).mean(), (probes.own[probes.rank > 0] <= 1.0).mean()
    assert any(np.allclose(here, point) for point in zip(fpir, tpir, strict=True))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = door(10**6, people=1500, strangers=10, each=1)
    expected = float((truth.own[truth.rank > 0] <= 1.0).mean())
    inside = []
    for seed in range(40):
        low, high = door_figures(door(seed, strangers=12), {"t": 1.0})["points"]["t"]["tpir"]["interval"]
        inside.append(low <= expected <= high)
    assert sum(inside) >= 34  # of 40 at 95 %: fewer by chance once in a thousand


def test_few_people_get_no_interval_and_no_strangers_no_rate():
    few = door_figures(door(3, people=5, strangers=5), {"t": 1.0})["points"]["t"]
    assert few["tpir"]["interval"] is None and few["fpir"]["interval"] is None
    none = door_figures(door(4, strangers=0), {"t": 1.0})["points"]
    assert none["t"]["fpir"] == {"share": None, "interval": None} and set(none) == {"t"}
