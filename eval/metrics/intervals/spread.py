"""From the resamples of a figure to its 95 % interval. NumPy and SciPy.

Weights by people scatter half as much as people do (``resampling``), so the truth scatters twice as much
as the resamples. But they also count too often what is not people's. Of a sum over different pairs, what one pair adds
by itself has variance A, and pairs that share a person add C together: A + C is the truth. The two halves of a pair are
drawn apart, so they find ¼ (2 A + C), and no weights find ¼ (A + C) (McCullagh 2000; Owen 2007). So the different pairs
are resampled as if independent, too, which finds ¼ A to be taken away (Fafchamps & Gubert 2007 do so for regressions).
At most half is taken, which is right for C = 0: people who seem to make a figure surer than independent pairs are luck.

A share near 1 is not as sure upwards as downwards, so its interval is taken on the scale of its log odds, as that of an
area under the ROC is (Obuchowski & Lieber 1998). There its variance is 1 / n, n the *effective errors*: as many errors
of people who err independently would scatter as much (Kish 1965). n is an estimate, too, and its own scatter is that of
2 n degrees of freedom (Satterthwaite 1946), hence Student's t. Of fewer than LEAST_ERRORS effective errors no interval
is given: none holds the truth as often as it says (``python -m benchmarks.coverage``).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, stdtrit

LEAST_ERRORS = 2
# Of more resamples without the figure, the others are a chosen lot.
_MOST_UNDEFINED = 0.05

Interval = list[float]


class Resamples(NamedTuple):
    """A figure of the pairs as they are, in each resample of the people (R,), and in each of the pairs (Q,).

    nan where a resample lacks what the figure needs. ``people``: how many there are at least in either kind of pairs.
    """

    value: float
    by_people: np.ndarray
    by_pairs: np.ndarray
    people: int

    def known(self) -> bool:
        """Whether people, and resamples that have the figure, are enough for an interval."""
        return self.people > 1 and bool(np.isfinite(self.by_people).mean() >= 1 - _MOST_UNDEFINED)

    def inflation(self) -> float:
        """How much larger the variance of the figure is than that of the resamples: 2 … 4."""
        found, too_much = (_mean_square(values - self.value) for values in (self.by_people, self.by_pairs))
        return 4 * max(1 - too_much / found, 1 / 2) if found > 0 else 4.0

    def spread(self) -> float:
        """How far the figure scatters around the truth: a standard deviation."""
        return float(np.sqrt(self.inflation() * _mean_square(self.by_people - self.value)))


def interval_of_difference(found: Resamples) -> Interval | None:
    """Of a difference, which scatters alike on both sides; None where it is not ``known``."""
    if not found.known():
        return None
    half = stdtrit(found.people - 1, 0.975) * found.spread()
    return [float(found.value - half), float(found.value + half)]


def interval_of_share(found: Resamples, unbiased: bool = True) -> Interval | None:
    """Of a figure in 0 … 1, on the scale of its log odds; None with too few errors, too.

    ``unbiased=False`` moves the interval, but not so far that it loses the figure: as the resamples lie to the figure,
    so the figure lies to the truth (Davison & Hinkley 1997, 5.2), by as much more as its variance is larger.
    """
    if not found.known():
        return None
    mean, value = float(np.nanmean(found.by_people)), found.value
    if not (0 < value < 1 and 0 < mean < 1):
        return None
    spread = found.spread() / (mean * (1 - mean))
    if spread**2 * LEAST_ERRORS > 1:
        return None
    freedom = min(found.people - 1, 2 / spread**2) if spread else found.people - 1
    centre = logit(value) + (0 if unbiased else found.inflation() * (logit(value) - logit(mean)))
    half = stdtrit(freedom, 0.975) * spread
    low, high = expit(centre - half), expit(centre + half)
    return [float(min(low, value)), float(max(high, value))]


def _mean_square(deviations: np.ndarray) -> float:
    return float(np.nanmean(deviations**2))
