"""Thresholds for a table and for a door: chosen on the evaluation pairs, judged on the test pairs.

The balanced threshold asks for as few wrong judgements as possible, of either kind. A door asks for a rate of
strangers let in that it can bear (a false accept rate, FAR), and then for as many of its people as possible. Both are
chosen for all pairs, and for each condition apart: where everybody wears a mask, another distance is right.
"""

from typing import NamedTuple

import numpy as np

from eval.conditions import parts
from eval.verification import FALSE_ACCEPT_RATES, best_threshold, checked, curve, threshold_at_far

BALANCED = "balanced"

# Part ("all pairs" or a condition) → rule (BALANCED or the name of a FAR) → distance.
Thresholds = dict[str, dict[str, float]]


class OperatingPoint(NamedTuple):
    """What a threshold, chosen on evaluation pairs by ``rule``, does on the test pairs of ``pairs``.

    ``far`` is the share of different pairs accepted, ``tar`` that of same pairs; None where there are none.
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
