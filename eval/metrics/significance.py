"""Which of two models is better, and could it be chance? Paired on the same test pairs.

The difference of two models is taken in every resample of the people (``eval.metrics.bootstrap``); both models see
the same resample, so what is hard about the pairs cancels. Where a model was trained with several seeds, each resample
draws seeds, too. McNemar's exact test (McNemar 1947) is given beside it for two single runs: it counts the pairs that
one judges rightly and the other wrongly, and takes pairs for independent, which people in many pairs make too hopeful.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from eval.metrics.bootstrap import interval


class Difference(NamedTuple):
    """First model minus second: the figure's difference, its 95 % interval, and the chance of a difference as large
    if there were none (two-sided)."""

    value: float
    interval: list[float] | None
    p: float | None


def difference(first: np.ndarray, second: np.ndarray, value: float, seed: int = 0) -> Difference:
    """Compare a figure of two models. ``first`` and ``second``: (runs, resamples), the same resamples for both.

    ``value`` is the difference on the pairs as they are. Each resample draws the runs of a model with replacement. No
    interval where a figure is missing in more than 5 % of the resamples.
    """
    rng = np.random.default_rng(seed)
    differences = mean_of_drawn_runs(first, rng) - mean_of_drawn_runs(second, rng)
    ends = interval(differences)
    if ends is None:
        return Difference(value, None, None)
    defined = differences[np.isfinite(differences)]
    # One more on both sides: so many resamples can't show a chance of zero (Davison & Hinkley 1997, 4.2).
    sides = [(np.sum(defined <= 0) + 1) / (len(defined) + 1), (np.sum(defined >= 0) + 1) / (len(defined) + 1)]
    return Difference(value, ends, min(1.0, 2 * float(min(sides))))


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> tuple[int, int, float]:
    """The pairs that only the first gets right, those that only the second does, and the exact two-sided p.

    ``first_right`` and ``second_right``: bool (P,), the same pairs in the same order.
    """
    first = int(np.sum(first_right & ~second_right))
    second = int(np.sum(second_right & ~first_right))
    p = binomtest(first, first + second).pvalue if first + second else 1.0
    return first, second, float(p)


def mean_of_drawn_runs(figures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean over as many runs as there are, drawn anew for each resample: (runs, resamples) → (resamples,)."""
    runs, resamples = figures.shape
    drawn = rng.integers(runs, size=(runs, resamples))
    return np.take_along_axis(figures, drawn, axis=0).mean(axis=0)
