"""Thresholds for verification tables and for access control: chosen on the evaluation pairs, tested on the test pairs.

The balanced threshold has the best balanced accuracy. Access control sets a false accept rate (FAR) and then accepts as
many same-person pairs as possible. Both are chosen over all pairs, and for each condition by itself: if everybody wears
a mask, another distance is best.
"""

from typing import NamedTuple

import numpy as np

from eval.metrics.conditions import parts
from eval.metrics.distances import checked
from eval.metrics.roc import FALSE_ACCEPT_RATES, Curve, curve, lacks_a_kind, threshold_at_far
from runtime.errors import InputError


def checked_threshold(threshold: float) -> float:
    """A threshold that somebody gave. Raises InputError if it is no distance of unit vectors."""
    if not 0 <= threshold <= 2:
        raise InputError(f"threshold is {threshold}, but distances are from 0 to 2")
    return threshold


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float | None:
    """The threshold with the best balanced accuracy, by exact search over all distinct distances.

    It lies midway between the last accepted distance and the next one, so that new pairs near either keep
    their side. Ties go to the smallest threshold: fewer false accepts. Compared as integers, so a tie is a
    tie. Where accepting everything is best (nothing separates, 0.5), it is the largest distance. The code of
    the system that this project rebuilds gives a threshold on the same pairs that differs by up to 0.025.
    """
    found = curve(distances, same)
    return None if lacks_a_kind(found) else best_threshold_of(found)


def best_threshold_of(pairs: Curve) -> float:
    total_same, total_different = int(pairs.same[-1]), int(pairs.different[-1])
    # Balanced accuracy × 2 × both totals, less a constant: whole numbers, so equal means equal.
    best = int(np.argmax(pairs.same * total_different - pairs.different * total_same))
    here = pairs.distances[best]
    # Where everything is accepted at 0.5 there is no next distance; rejecting all would be as good and as
    # useless.
    if best + 1 == len(pairs.distances):
        return float(here)
    middle = (here + pairs.distances[best + 1]) / 2
    return float(middle if middle < pairs.distances[best + 1] else here)


BALANCED = "balanced"

# Part ("all pairs" or a condition) → rule (BALANCED or the name of a FAR) → distance.
Thresholds = dict[str, dict[str, float]]


class OperatingPoint(NamedTuple):
    """The results of a threshold, chosen on evaluation pairs by ``rule``, on the test pairs of ``pairs``.

    ``far`` is the share of different pairs accepted, ``tar`` that of same pairs; None if there are none.
    """

    pairs: str
    rule: str
    threshold: float
    accuracy: float
    far: float | None
    tar: float | None


def choose_thresholds(distances: np.ndarray, same: np.ndarray, condition: np.ndarray) -> Thresholds:
    """The thresholds of each condition, without those that the pairs can't give (too few, or of one kind)."""
    distances, same = checked(distances, same)
    chosen = {}
    for name, rows in parts(condition).items():
        pairs = curve(distances[rows], same[rows])
        found = {BALANCED: best_threshold(distances[rows], same[rows])}
        found |= {far: threshold_at_far(pairs, rate) for far, rate in FALSE_ACCEPT_RATES.items()}
        chosen[name] = {rule: value for rule, value in found.items() if value is not None}
    return chosen


def operating_points(
    thresholds: Thresholds, distances: np.ndarray, same: np.ndarray, condition: np.ndarray
) -> list[OperatingPoint]:
    """Each threshold on the test pairs of its condition; conditions without test pairs drop out."""
    distances, same = checked(distances, same)
    points = []
    for name, rows in parts(condition).items():
        for rule, threshold in thresholds.get(name, {}).items():
            accepted, truth = distances[rows] <= threshold, same[rows]
            far, tar = (float(accepted[kind].mean()) if kind.any() else None for kind in (~truth, truth))
            points.append(OperatingPoint(name, rule, threshold, float((accepted == truth).mean()), far, tar))
    return points
