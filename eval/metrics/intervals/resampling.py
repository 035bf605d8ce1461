"""How often each pair counts in a resample, and the resampled counts that all figures follow from. NumPy only.

By *people*: people are drawn with replacement, not pairs, and each of a pair's two people brings half of it as often
as they were drawn. With c(a) the times person a was drawn, a pair of two people weighs ½ c(a) + ½ c(b). Of a pair of
one and the same person the second half is brought once each time: ½ c(a) + ½. So weights have mean 1 and scatter half
as much as people do. That is Fay's way (Judkins 1990): no kind of pairs is ever lost from a resample, and a figure that
bends, as a TAR at a rare false accept does, is moved so little that it is nearly straight. The product c(a)·c(b) of the
vertex bootstrap (Snijders & Borgatti 1999; for faces, Bolle et al. 2004) scatters much more, with long tails.

By *pairs*: each different pair weighs ½ or 1½, as a coin falls, as if pairs were independent. It measures what weights
by people count too often (``eval.metrics.intervals.spread``).

Weights are counted in halves. P pairs, K bins of distance, F folds, B resamples at a time.
"""

import copy
from collections.abc import Iterator
from typing import Self

import numpy as np

from eval.metrics.accuracy import FOLDS
from eval.metrics.distances import BINS, MAX_DISTANCE

# Up to here every distinct distance is a bin of its own and the figures are exact; beyond, bins of at most
# 2 / 1000 of a kind of pairs move an interval's end in the fourth digit.
_MOST_BINS = 2000
_BLOCK = 20
# A sum of two counts must fit into a byte; so many draws of one person never happen.
_MOST_DRAWS = 127


class PersonWeights:
    """Iterates over the weights of pairs in halves, uint8 (P,), one array for each resample of the people.

    ``people`` int64 (P, 2): the two people of each pair, equal where the pair is of one person. The same seed gives
    the same resamples.
    """

    def __init__(self, people: np.ndarray, resamples: int, seed: int = 0):
        names, codes = np.unique(people, return_inverse=True)
        codes = codes.reshape(-1, 2)
        self.people, self.resamples, self.seed = len(names), resamples, seed
        self._left = codes[:, 0].astype(np.intp)
        # The second person of a same pair is a stand-in who is drawn once each time.
        self._right = np.where(codes[:, 0] == codes[:, 1], len(names), codes[:, 1]).astype(np.intp)

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(self.seed)
        for _ in range(self.resamples):
            drawn = np.bincount(rng.integers(self.people, size=self.people), minlength=self.people + 1)
            drawn[-1] = 1
            counts = np.minimum(drawn, _MOST_DRAWS).astype(np.uint8)
            weights = counts.take(self._left)
            weights += counts.take(self._right)
            yield weights

    def in_order(self, order: np.ndarray) -> Self:
        """The same resamples of the pairs in another order, int64 (P,)."""
        ordered = copy.copy(self)
        ordered._left, ordered._right = self._left[order], self._right[order]
        return ordered


class PairWeights:
    """Iterates over the weights of pairs in halves, uint8 (P,), as if different pairs were independent.

    Same pairs always weigh 1. The same seed gives the same resamples, whatever the distances: they are paired over
    models, as those of ``PersonWeights`` are.
    """

    def __init__(self, people: np.ndarray, resamples: int, seed: int = 0):
        self.resamples, self.seed = resamples, seed
        self._same = people[:, 0] == people[:, 1]
        self._place = np.arange(len(people))

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(self.seed)
        tails, more = 1 + self._same.astype(np.uint8), 2 * (~self._same).astype(np.uint8)
        for _ in range(self.resamples):
            heads = np.unpackbits(np.frombuffer(rng.bytes(len(tails) // 8 + 1), np.uint8))
            yield tails + more * heads.take(self._place)

    def in_order(self, order: np.ndarray) -> Self:
        """The same resamples of the pairs in another order, int64 (P,)."""
        ordered = copy.copy(self)
        ordered._same, ordered._place = self._same[order], self._place[order]
        return ordered


class SumsByKey:
    """Sums of the weights of pairs by a key, int (P,) in 0 … K−1.

    Pairs are put in the order of their keys, so that neighbours are summed: of few keys ten times as quick as a
    bincount.
    """

    def __init__(self, key: np.ndarray, size: int):
        self._order = np.argsort(key, kind="stable")
        ordered = key[self._order]
        self._starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        self._filled, self._size = ordered[self._starts], size

    def of(self, weights: PersonWeights | PairWeights) -> Iterator[np.ndarray]:
        """Float64 (K,) of each resample."""
        for weight in weights.in_order(self._order):
            sums = np.zeros(self._size)
            sums[self._filled] = np.add.reduceat(weight, self._starts, dtype=np.int64)
            yield sums


class BinnedPairs:
    """Pairs by fold, kind (same, different) and bin of distance.

    ``upper`` (K,): the largest distance of each bin, ascending; the threshold and the histogram's edges lie between
    bins. ``counts`` float64 (1, F, 2, K): the pairs as they are.
    """

    def __init__(self, distances: np.ndarray, same: np.ndarray, threshold: float | None, folds: np.ndarray | None):
        self.upper = bin_ends(distances, same, threshold)
        self._shape = (1 if folds is None else FOLDS, 2, len(self.upper))
        size = int(np.prod(self._shape))
        fold = 0 if folds is None else folds
        key = (fold * 2 + ~same) * len(self.upper) + np.searchsorted(self.upper, distances, side="left")
        self._sums = SumsByKey(key, size)
        self.counts = np.bincount(key, minlength=size).reshape(1, *self._shape).astype(float)

    def resampled_counts(self, weights: PersonWeights | PairWeights) -> Iterator[np.ndarray]:
        """Weighted counts, float64 (B, F, 2, K) for B resamples at a time."""
        block = []
        for sums in self._sums.of(weights):
            block.append(sums.reshape(self._shape))
            if len(block) == _BLOCK:
                yield np.stack(block)
                block = []
        if block:
            yield np.stack(block)


def bin_ends(distances: np.ndarray, same: np.ndarray, threshold: float | None) -> np.ndarray:
    """Every distinct distance, or quantiles of both kinds, with the threshold and the histogram's edges kept apart."""
    distinct = np.unique(distances)
    if len(distinct) <= _MOST_BINS:
        return distinct
    edges = np.linspace(0, MAX_DISTANCE, BINS + 1)[1:-1]
    last_under = np.searchsorted(distinct, edges, side="left") - 1
    ends = [distinct[-1:], distinct[last_under[last_under >= 0]]]
    if threshold is not None:
        ends.append(distinct[: np.searchsorted(distinct, threshold, side="right")][-1:])
    ends += [_quantiles(np.sort(distances[kind])) for kind in (same, ~same)]
    return np.unique(np.concatenate(ends))


def _quantiles(ordered: np.ndarray) -> np.ndarray:
    """Half of the bins' ends evenly through the ranks, and as many densely at the near end, for low accept rates."""
    ranks = np.concatenate([np.linspace(0, 1, _MOST_BINS // 4), np.geomspace(1e-6, 1, _MOST_BINS // 4)])
    return ordered[np.unique((ranks * (len(ordered) - 1)).astype(int))]
