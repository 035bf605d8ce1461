"""Every masked face against every plain one, as the masked face recognition challenge of ICCV 2021 asks.

7,000 masked faces and 14,000 plain ones are 97 million pairs: they are compared a block at a time, and only the near
ones are kept. M masked and N plain faces, D embedding, G people.
"""

from collections.abc import Iterable

import numpy as np

from eval.metrics.distances import distances_of_cosines
from eval.metrics.many_pairs.tar_intervals import NearPairs, pairs_needed

# 256 faces against 14,000 are 28 MB.
_AT_ONCE = 256


def blocks_of(faces: int) -> list[slice]:
    """The rows of so many faces, a block at a time."""
    return [slice(start, min(start + _AT_ONCE, faces)) for start in range(0, faces, _AT_ONCE)]


def near_of_every_pair(
    masked: np.ndarray,
    plain: np.ndarray,
    person: tuple[np.ndarray, np.ndarray],
    rate: float,
    blocks: Iterable[slice] | None = None,
) -> NearPairs:
    """All same pairs and the nearest different ones, enough for TARs at a FAR up to ``rate`` and their intervals.

    ``masked`` (M, D) and ``plain`` (N, D): unit rows; ``person``: int (M,) and (N,) in 0 … G−1. ``blocks``: those of
    ``blocks_of(M)``, perhaps behind a progress bar.
    """
    of_masked, of_plain = person
    different_of = _different_pairs(of_masked, of_plain)
    near = _Nearest(pairs_needed(rate, int(different_of.sum()) // 2))
    plain = plain.astype(np.float64)
    for rows in blocks_of(len(masked)) if blocks is None else blocks:
        cosines = masked[rows].astype(np.float64) @ plain.T
        near.add(distances_of_cosines(cosines), of_masked[rows], of_plain)
    return NearPairs(*near.pairs(), different_of)


def _different_pairs(of_masked: np.ndarray, of_plain: np.ndarray) -> np.ndarray:
    """In how many different pairs each person is: int64 (G,)."""
    people = max(of_masked.max(), of_plain.max()) + 1
    masked, plain = (np.bincount(person, minlength=people) for person in (of_masked, of_plain))
    return masked * (plain.sum() - plain) + plain * (masked.sum() - masked)


class _Nearest:
    """Same pairs, and the ``most`` nearest different ones, of blocks of pairs that come one after the other."""

    def __init__(self, most: int) -> None:
        self._most, self._limit, self._kept = most, np.inf, 0
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, distances: np.ndarray, of_rows: np.ndarray, of_columns: np.ndarray) -> None:
        """A block of distances (R, C), and the person of each row and column."""
        same = of_rows[:, None] == of_columns
        row, column = np.nonzero(same | (distances <= self._limit))
        people = np.stack([of_rows[row], of_columns[column]], axis=1)
        self._parts.append((distances[row, column], same[row, column], people))
        self._kept += len(row)
        if self._kept > 3 * self._most:
            self._drop()

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances, whether same, and people (P, 2) of what is kept."""
        self._drop()
        return self._parts[0]

    def _drop(self) -> None:
        distances, same, people = (np.concatenate(each) for each in zip(*self._parts, strict=True))
        of_different = distances[~same]
        if len(of_different) > self._most > 0:
            self._limit = np.partition(of_different, self._most - 1)[self._most - 1]
        kept = same | (distances <= self._limit)
        self._parts = [(distances[kept], same[kept], people[kept])]
        self._kept = int(kept.sum())
