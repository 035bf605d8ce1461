"""95 % intervals of TAR at a FAR over people, of many millions of pairs. NumPy and SciPy.

The resamples are those of ``intervals.resampling``: people are drawn with replacement, and each brings half of the
weight of a pair. So the weight of all pairs in a bin of distance is a sum over people: how often each was drawn, times
the sides that they have in the bin. That is a product of two matrices, in which pairs no longer appear. Pairs that
count ½ or 1½, as coins fall, sum to half of their number plus a binomial number.

P pairs, K bins, G people, R resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eval.metrics.distances import MAX_DISTANCE
from eval.metrics.intervals.bootstrap import LEAST_PEOPLE, PAIR_RESAMPLES, RESAMPLES
from eval.metrics.intervals.resampling import bin_ends
from eval.metrics.intervals.spread import Interval, Resamples, interval_of_share
from eval.metrics.intervals.weighted_figures import tar_of
from eval.metrics.roc import Curve, curve

# Entries of the matrix of bins and people at a time: 32 MB.
_ENTRIES = 2**22
# A resample may need more different pairs than the list to reach a FAR.
_MARGIN = 2


@dataclass(frozen=True)
class NearPairs:
    """All same pairs of a list, and those of its different pairs that are nearest: enough for TARs at low FARs.

    ``distances`` float64 (P,), ``same`` bool (P,); ``people`` int64 (P, 2) in 0 … G−1, the two people of each pair.
    ``different_of`` int64 (G,): in how many different pairs of the list, near or not, each person is.
    """

    distances: np.ndarray
    same: np.ndarray
    people: np.ndarray
    different_of: np.ndarray

    def curve(self) -> Curve:
        """What each distance accepts; its last point accepts all, where what is not near counts, too."""
        near, different = curve(self.distances, self.same), int(self.different_of.sum()) // 2
        if len(near.distances) and near.different[-1] == different:
            return near
        last = MAX_DISTANCE, self.same.sum(), different
        return Curve(*(np.append(values, value) for values, value in zip(near, last, strict=True)))


def pairs_needed(rate: float, different: int) -> int:
    """How many of the nearest of so many different pairs the interval of a TAR at that FAR rests on, at least 1."""
    return min(int(_MARGIN * rate * different) + 1, different)


def near_pairs(distances: np.ndarray, same: np.ndarray, people: np.ndarray, rate: float) -> NearPairs:
    """Those that intervals at a FAR up to ``rate`` need of a whole list; the arrays are those of ``NearPairs``."""
    of_different = distances[~same]
    needed = pairs_needed(rate, len(of_different))
    kept = same | (distances <= np.partition(of_different, needed - 1)[needed - 1])
    sides = [np.bincount(people[~same, side], minlength=people.max() + 1) for side in (0, 1)]
    return NearPairs(distances[kept], same[kept], people[kept], sides[0] + sides[1])


def tar_intervals(pairs: NearPairs, rates: Mapping[str, float], seed: int = 0) -> dict[str, Interval | None] | None:
    """95 % intervals [low, high] of TAR at each of ``rates``, under their names.

    None with fewer than LEAST_PEOPLE people; a single one is None as in ``intervals.spread``. The same seed draws
    the same people.
    """
    people = len(pairs.different_of)
    if people < LEAST_PEOPLE:
        return None
    found = resampled_tars(pairs, rates, seed)
    return {name: interval_of_share(figure) for name, figure in found.items()}


def resampled_tars(pairs: NearPairs, rates: Mapping[str, float], seed: int = 0) -> dict[str, Resamples]:
    """TAR at each of ``rates``: of the pairs as they are, in each resample of the people and in each of the pairs."""
    ends = bin_ends(pairs.distances, pairs.same, None)
    bins = np.searchsorted(ends, pairs.distances, side="left")
    counts = [np.bincount(bins[kind], minlength=len(ends)) / 1 for kind in (pairs.same, ~pairs.same)]
    rng = np.random.default_rng(seed)
    ways = [
        _cumulated(*counts, pairs.different_of.sum() / 2),
        _by_people(pairs, bins, counts, rng),
        _by_pairs(counts, int(pairs.different_of.sum()) // 2, rng),
    ]
    enough = min(len(np.unique(pairs.people[pairs.same])), int((pairs.different_of > 0).sum()))
    found = {}
    for name, rate in rates.items():
        plain, by_people, by_pairs = (tar_of(*way, rate) for way in ways)
        found[name] = Resamples(float(plain[0]), by_people, by_pairs, enough)
    return found


# Same and different pairs up to each bin, float64 (R, K + 1) each; the last bin holds what is not near.
Cumulated = tuple[np.ndarray, np.ndarray]


def _by_people(pairs: NearPairs, bins: np.ndarray, counts: list[np.ndarray], rng: np.random.Generator) -> Cumulated:
    """Each person's half of a pair weighs as often as they were drawn; the second half of a same pair once."""
    people = len(pairs.different_of)
    drawn = np.stack([np.bincount(rng.integers(people, size=people), minlength=people) for _ in range(RESAMPLES)]) / 1.0
    same, different = (
        _sums_over_people(bins[kind], pairs.people[kind], len(counts[0]), drawn) for kind in (pairs.same, ~pairs.same)
    )
    return _cumulated(same / 4 + counts[0] / 2, different / 2, drawn @ pairs.different_of / 2)


def _sums_over_people(bins: np.ndarray, people: np.ndarray, count: int, drawn: np.ndarray) -> np.ndarray:
    """How often the sides of a bin's pairs were drawn: bins (P,), people (P, 2), drawn (R, G) → float64 (R, K)."""
    order = np.argsort(bins, kind="stable")
    bins, people = bins[order], people[order]
    everybody, sums = drawn.shape[1], np.empty((len(drawn), count))
    step = max(1, _ENTRIES // everybody)
    for first in range(0, count, step):
        last = min(first + step, count)
        here = slice(*np.searchsorted(bins, [first, last]))
        places = (bins[here] - first)[:, None] * everybody + people[here]
        sides = np.bincount(places.ravel(), minlength=(last - first) * everybody).reshape(-1, everybody)
        sums[:, first:last] = drawn @ sides.T
    return sums


def _by_pairs(counts: list[np.ndarray], different: int, rng: np.random.Generator) -> Cumulated:
    """Each different pair weighs ½ or 1½, as a coin falls; same pairs weigh 1."""
    near = counts[1].astype(np.int64)
    by_bin = np.append(near, different - near.sum())
    tossed = by_bin / 2 + rng.binomial(by_bin, 0.5, size=(PAIR_RESAMPLES, len(by_bin)))
    same = np.broadcast_to(counts[0], (PAIR_RESAMPLES, len(near)))
    return _cumulated(same, tossed[:, :-1], tossed.sum(1))


def _cumulated(same: np.ndarray, different: np.ndarray, all_different: np.ndarray | float) -> Cumulated:
    """Up to each bin, same and different near pairs (R, K) or (K,), and of all different ones (R,)."""
    same, different = (np.atleast_2d(kind).cumsum(1) for kind in (same, different))
    everything = np.broadcast_to(np.asarray(all_different, float).reshape(-1, 1), (len(different), 1))
    return np.hstack([same, same[:, -1:]]), np.hstack([different, everything])
