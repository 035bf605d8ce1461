"""Every masked face against every plain one, against a list of all these pairs."""

import numpy as np
import pytest

from eval.metrics.many_pairs import every_pair
from eval.metrics.many_pairs.every_pair import near_of_every_pair
from eval.metrics.many_pairs.tar_intervals import near_pairs, resampled_tars
from eval.metrics.roc import curve, tar_within_far

RATES = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3}


@pytest.fixture
def faces():
    """30 people; some have no plain picture, some no masked one."""
    rng = np.random.default_rng(0)
    person = rng.integers(25, size=70), rng.integers(5, 30, size=110)
    centres = rng.normal(size=(30, 8))
    rows = [centres[who] + 0.7 * rng.normal(size=(len(who), 8)) for who in person]
    return *(each / np.linalg.norm(each, axis=1, keepdims=True) for each in rows), person


def listed(masked, plain, person):
    """Distances, same and people of all pairs, one after the other."""
    distances = np.array([np.linalg.norm(a - b) for a in masked for b in plain])
    people = np.array([(i, j) for i in person[0] for j in person[1]])
    return distances, people[:, 0] == people[:, 1], people


@pytest.mark.parametrize("at_once", [1, 16, 256])
def test_tars_are_those_of_the_list_of_all_pairs(faces, at_once, monkeypatch):
    monkeypatch.setattr(every_pair, "_AT_ONCE", at_once)
    distances, same, _ = listed(*faces)
    expected = curve(distances, same)
    found = near_of_every_pair(*faces, rate=0.1).curve()
    assert (found.same[-1], found.different[-1]) == (same.sum(), (~same).sum())
    for rate in RATES.values():
        assert tar_within_far(found, rate) == pytest.approx(tar_within_far(expected, rate), abs=1e-9)


def test_only_near_pairs_are_kept_and_intervals_rest_on_the_same_resamples(faces):
    whole = near_pairs(*listed(*faces), 0.1)
    near = near_of_every_pair(*faces, rate=0.1)
    assert len(near.distances) == len(whole.distances) < 0.3 * 70 * 110
    np.testing.assert_array_equal(near.different_of, whole.different_of)
    one, other = resampled_tars(whole, RATES), resampled_tars(near, RATES)
    for name in RATES:
        np.testing.assert_allclose(one[name].by_people, other[name].by_people, atol=1e-12)


def test_sets_without_different_pairs_keep_their_same_ones():
    rows = np.eye(3)
    near = near_of_every_pair(rows, rows[:1], (np.zeros(3, int), np.zeros(1, int)), rate=0.1)
    assert near.same.all() and len(near.distances) == 3
    assert tar_within_far(near.curve(), 1e-4) is None
