"""Error rates of every threshold: ROC, AUC, EER, and TAR at a FAR (ISO/IEC 19795-1). NumPy only.

Accepting a same (genuine) pair is right, accepting a different (impostor) pair is a false accept. Figures that need
both kinds of pairs are None where one is missing.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from eval.metrics.distances import checked

FALSE_ACCEPT_RATES = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}


class Curve(NamedTuple):
    """The pairs that each threshold accepts: ``same[i]`` and ``different[i]`` pairs have a distance ≤ ``distances[i]``.

    ``distances`` (U,) are the distinct ones, ascending; the last entries of the two counts are the totals.
    """

    distances: np.ndarray
    same: np.ndarray
    different: np.ndarray


def curve(distances: np.ndarray, same: np.ndarray) -> Curve:
    """Accepted same and different pairs at each distinct distance, in O(P log P)."""
    distances, same = checked(distances, same)
    # Values alone are sorted three times as quickly as their places.
    of_same, of_different = np.sort(distances[same]), np.sort(distances[~same])
    distinct = np.unique(np.concatenate([of_same, of_different]))
    return Curve(distinct, *(np.searchsorted(kind, distinct, side="right") for kind in (of_same, of_different)))


def auc(pairs: Curve) -> float | None:
    """Area under the ROC: the chance that a same pair is closer than a different one, ties counting half."""
    if lacks_a_kind(pairs):
        return None
    same_here = np.diff(pairs.same, prepend=0)
    farther = pairs.different[-1] - pairs.different
    equal = np.diff(pairs.different, prepend=0)
    wins = same_here.astype(float) @ (farther + equal / 2)
    return float(wins / (float(pairs.same[-1]) * float(pairs.different[-1])))


def eer(pairs: Curve) -> float | None:
    """Equal error rate: where the false accept rate meets the false reject rate (ISO/IEC 19795-1).

    The error curve has a point at each distinct distance and runs straight between them.
    """
    if lacks_a_kind(pairs):
        return None
    false_accepts = np.concatenate([[0], pairs.different / pairs.different[-1]])
    false_rejects = np.concatenate([[1], 1 - pairs.same / pairs.same[-1]])
    gap = false_accepts - false_rejects
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false_accepts[after - 1] + share * (false_accepts[after] - false_accepts[after - 1]))


def threshold_at_far(pairs: Curve, rate: float) -> float | None:
    """The largest distinct distance that accepts at most ``rate`` of the different pairs.

    Just under the closest pair where even that one accepts too many; None with fewer than 10 / rate different
    pairs, which can't show such a rate.
    """
    if not _enough(pairs, rate):
        return None
    last = _last_within(pairs, rate)
    return float(pairs.distances[last]) if last >= 0 else float(np.nextafter(pairs.distances[0], -1.0))


def tar_at_far(pairs: Curve, rate: float) -> float | None:
    """Share of same pairs accepted at ``threshold_at_far``; None if that is None."""
    return tar_within_far(pairs, rate) if _enough(pairs, rate) else None


def tar_within_far(pairs: Curve, rate: float) -> float | None:
    """``tar_at_far`` however few the different pairs are: of fewer than 1 / rate, not one is accepted."""
    if lacks_a_kind(pairs):
        return None
    last = _last_within(pairs, rate)
    return float(pairs.same[last] / pairs.same[-1]) if last >= 0 else 0.0


def tars_nearest_far(pairs: Curve, rates: Mapping[str, float]) -> dict[str, float | None]:
    """TAR as InsightFace reads it off for IJB-B and IJB-C: at the point of the ROC whose FAR is nearest to the rate.

    That FAR may lie above the rate, unlike in ``tar_at_far``. The points are the corners of the ROC, those that
    scikit-learn's ``roc_curve`` keeps; of equally near ones the last, and of one FAR the highest, counts.
    """
    if lacks_a_kind(pairs):
        return dict.fromkeys(rates)
    bends = (np.diff(pairs.same, 2) != 0) | (np.diff(pairs.different, 2) != 0)
    corners = np.concatenate([[True], bends, [True]])[: len(pairs.same)]
    same, different = (np.concatenate([[0], counts[corners]])[::-1] for counts in (pairs.same, pairs.different))
    fars = different / different[0]
    return {name: float(same[np.argmin(np.abs(fars - rate))] / same[0]) for name, rate in rates.items()}


def curve_of_sorted(distances: np.ndarray, same: np.ndarray) -> Curve:
    last_of_its_value = np.flatnonzero(np.append(np.diff(distances) != 0, True)[: len(distances)])
    accepted_same = np.cumsum(same)[last_of_its_value]
    return Curve(distances[last_of_its_value], accepted_same, last_of_its_value + 1 - accepted_same)


def _last_within(pairs: Curve, rate: float) -> int:
    """Index of the largest distance whose false accept rate is at most ``rate``, or −1."""
    # The hair on top keeps 0.001 × 30000 = 30 from being 29.999….
    allowed = np.floor(rate * pairs.different[-1] * (1 + 1e-12))
    return int(np.searchsorted(pairs.different, allowed, side="right")) - 1


def _enough(pairs: Curve, rate: float) -> bool:
    return not lacks_a_kind(pairs) and pairs.different[-1] * rate * (1 + 1e-12) >= 10


def lacks_a_kind(pairs: Curve) -> bool:
    return len(pairs.distances) == 0 or pairs.same[-1] == 0 or pairs.different[-1] == 0
