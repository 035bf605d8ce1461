"""Names from distances: against naive loops."""

import numpy as np
import pytest

from eval.identify import naming
from eval.identify.naming import accept, look_alikes, nearest_people


def unit_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [1, 50, 10_000])
def test_nearest_people_whatever_the_size_of_a_block(monkeypatch, block):
    monkeypatch.setattr(naming, "_BLOCK", block)
    faces, people = unit_rows(23, 0), unit_rows(9, 1)
    rows, distances = nearest_people(faces, people)
    for face, row, distance in zip(faces, rows, distances, strict=True):
        naive = [float(np.linalg.norm(face - person)) for person in people]
        assert naive[row] == min(naive) and distance == pytest.approx(min(naive), abs=1e-6)


def test_nobody_is_in_a_photograph_twice():
    rows, distances = np.array([2, 0, 2, 2, 1]), np.array([0.5, 0.9, 0.4, 0.4, 1.2])
    # The nearest of the three faces of person 2, the first of two as near; person 1 is too far off.
    np.testing.assert_array_equal(accept(rows, distances, 1.0), [False, True, True, False, False])
    assert not accept(rows, distances, 0.1).any()


@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_look_alikes_are_those_of_a_naive_count(monkeypatch, block):
    monkeypatch.setattr(naming, "_BLOCK", block)
    people = unit_rows(15, 3)
    pairs = {(i, j): float(np.linalg.norm(people[i] - people[j])) for i in range(15) for j in range(i)}
    for threshold in (0.1, 0.7, 1.2):
        near = {pair: distance for pair, distance in pairs.items() if distance <= threshold}
        count, nearest = look_alikes(people, threshold)
        assert count == len(near)
        if near:
            (pair, distance) = min(near.items(), key=lambda item: item[1])
            assert {nearest[0], nearest[1]} == set(pair) and nearest[2] == pytest.approx(distance, abs=1e-6)
        else:
            assert nearest is None
