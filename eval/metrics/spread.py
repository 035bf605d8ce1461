"""From the resamples of a figure to its 95 % interval. NumPy and SciPy.

Resampling people makes the figure scatter too much. Of a sum over pairs, what one pair adds by itself has variance A,
and pairs that share a person add C together: A + C is the truth. The weights c(a)·c(b) of a different pair have
variance 3, so they find 3 A + C, and no weights find A + C (McCullagh 2000; Owen 2007). Where different pairs hardly
depend on each other, as those of faces, intervals come out √3 times too wide. So the different pairs are resampled as
if independent, too, which finds A, and the resamples of the people are drawn together by the root of
(3 A + C − 2 A) / (3 A + C). That is 1/3 where C = 0, and never taken for less: people who seem to make a figure surer
than independent pairs would are luck. Products of counts have long tails, too, so that an interval is made of the
spread of the resamples, not of their percentiles.

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
    """A figure of the pairs as they are, in each resample of so many people (R,), and in each of the pairs (Q,).

    nan where a resample lacks what the figure needs.
    """

    value: float
    by_people: np.ndarray
    by_pairs: np.ndarray
    people: int

    def known(self) -> bool:
        """Whether resamples enough have the figure."""
        return bool(np.isfinite(self.by_people).mean() >= 1 - _MOST_UNDEFINED)

    def narrowing(self) -> float:
        """The factor that draws the resamples of the people together, √(1/3) … 1."""
        found, too_much = (_mean_square(values - self.value) for values in (self.by_people, self.by_pairs))
        return float(np.sqrt(max(1 - 2 * too_much / found, 1 / 3))) if found > 0 else 1.0

    def spread(self) -> float:
        """How far the figure scatters around the truth: a standard deviation."""
        return self.narrowing() * float(np.sqrt(_mean_square(self.by_people - self.value)))


def interval_of_difference(found: Resamples) -> Interval | None:
    """Of a difference, which scatters alike on both sides; None where more than 5 % of the resamples lack it."""
    if not found.known():
        return None
    half = stdtrit(found.people - 1, 0.975) * found.spread()
    return [float(found.value - half), float(found.value + half)]


def interval_of_share(found: Resamples, unbiased: bool = True) -> Interval | None:
    """Of a figure in 0 … 1, on the scale of its log odds; None with too few errors, too.

    ``unbiased=False`` moves the interval by as much as resampling moved the figure, but not so far that it loses it: as
    the resamples lie to the figure, so the figure lies to the truth (Davison & Hinkley 1997, 5.2).
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
    centre = logit(value) + (0 if unbiased else found.narrowing() * (logit(value) - logit(mean)))
    half = stdtrit(freedom, 0.975) * spread
    low, high = expit(centre - half), expit(centre + half)
    return [float(min(low, value)), float(max(high, value))]


def _mean_square(deviations: np.ndarray) -> float:
    return float(np.nanmean(deviations**2))
