"""Groups of faces: against naive linkage, and their figures against loops over all pairs and all faces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.group import grouping
from eval.group.grouping import group_faces, grouping_figures
from runtime.errors import InputError


def naive_groups(rows: np.ndarray, photo: np.ndarray, threshold: float) -> set[frozenset[int]]:
    """Merge the two nearest groups, by the mean distance of their faces, as long as it is within the threshold."""
    apart = np.linalg.norm(rows[:, None].astype(float) - rows[None], axis=2)
    apart[photo[:, None] == photo[None]] = 2
    groups = [[i] for i in range(len(rows))]
    while len(groups) > 1:
        distance, i, j = min(
            (apart[np.ix_(a, b)].mean(), i, j) for i, a in enumerate(groups) for j, b in enumerate(groups) if i < j
        )
        if distance > threshold:
            break
        groups[i] += groups.pop(j)
    return {frozenset(group) for group in groups}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("block", [40, 8_000_000])
def test_groups_are_those_of_naive_average_linkage(monkeypatch, seed, block):
    monkeypatch.setattr(grouping, "_BLOCK", block)
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(7, 8)), 4, axis=0) + 0.35 * rng.normal(size=(28, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    photo = rng.integers(20, size=28)
    found = group_faces(rows, photo, 0.8)
    expected = naive_groups(rows, photo, 0.8)
    assert {frozenset(np.flatnonzero(found == group).tolist()) for group in np.unique(found)} == expected
    sizes = np.bincount(found)
    assert (np.diff(sizes) <= 0).all() and 1 < len(sizes) < 28


def test_faces_of_one_photograph_are_two_people_however_alike():
    rows = np.tile(np.float32([1, 0]), (2, 1))
    assert group_faces(rows, np.array([0, 1]), 0.5).tolist() == [0, 0]
    assert group_faces(rows, np.array([3, 3]), 0.5).tolist() == [0, 1]


def test_too_many_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(grouping, "MOST_TOGETHER", 3)
    with pytest.raises(InputError, match="4 faces hang together"):
        group_faces(np.tile(np.float32([1, 0]), (4, 1)), np.arange(4), 0.5)


labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=25)


@given(labels)
def test_figures_are_those_of_naive_loops(both):
    people, groups = zip(*both, strict=True)
    faces = range(len(both))
    pairs = [(people[i] == people[j], groups[i] == groups[j]) for i in faces for j in range(i)]
    hits = sum(p and g for p, g in pairs)
    grouped, same = sum(g for _, g in pairs), sum(p for p, _ in pairs)
    found = grouping_figures(np.array(people), np.array(groups))
    assert found["pair_precision"] == pytest.approx(hits / grouped if grouped else 1)
    assert found["pair_recall"] == pytest.approx(hits / same if same else 1)
    for name, mine, other in (("bcubed_precision", groups, people), ("bcubed_recall", people, groups)):
        shares = []
        for i in faces:
            near = [j for j in faces if mine[j] == mine[i]]
            shares.append(sum(other[j] == other[i] for j in near) / len(near))
        assert found[name] == pytest.approx(np.mean(shares))
    precision, recall = found["bcubed_precision"], found["bcubed_recall"]
    assert found["bcubed_f"] == pytest.approx(2 / (1 / precision + 1 / recall))
