"""From the resamples of a figure to its 95 % interval. NumPy and SciPy.

Resampling people makes the figure scatter too much. Of a sum over pairs, what one pair adds by itself has variance A,
and pairs that share a person add C together: A + C is the truth. The weights c(a)·c(b) of a different pair have
variance 3, so they find 3 A + C, and no weights find A + C (McCullagh 2000; Owen 2007). Where different pairs hardly
depend on each other, as those of faces, intervals come out √3 times too wide. So the different pairs are resampled as
if independent, too, which finds A, and the resamples of the people are drawn together by the root of
(3 A + C − 2 A) / (3 A + C). That is 1/3 where C = 0, and never taken for less: people who seem to make a figure surer
than independent pairs would are luck.

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

    nan where a resample lacks what the figure needs.
    """

    value: float
    people: np.ndarray
    pairs: np.ndarray

    def narrowing(self) -> float:
        """The factor that draws the resamples of the people together, √(1/3) … 1."""
        found, too_much = (_square(resamples - self.value) for resamples in (self.people, self.pairs))
        return float(np.sqrt(max(1 - 2 * too_much / found, 1 / 3))) if found > 0 else 1.0

    def narrowed(self) -> np.ndarray:
        """The resamples of the people (R,) with the right spread around the value."""
        return self.value + self.narrowing() * (self.people - self.value)


def middle(values: np.ndarray) -> Interval | None:
    """The middle 95 % of the values; None where more than 5 % of them are nan."""
    defined = values[np.isfinite(values)]
    return np.percentile(defined, [2.5, 97.5]).tolist() if _enough(values) else None


def interval_of_difference(found: Resamples) -> Interval | None:
    """Of a difference, which scatters alike on both sides: the middle of its resamples."""
    return middle(found.narrowed())


def interval_of_share(found: Resamples, people: int, unbiased: bool = True) -> Interval | None:
    """Of a figure in 0 … 1, on the scale of its log odds; None with too few errors.

    ``people``: how many were resampled. ``unbiased=False`` moves the interval by as much as resampling moved the
    figure, but not so far that it loses it: as the resamples lie to the figure, so the figure lies to the truth
    (Davison & Hinkley 1997, 5.2).
    """
    if not _enough(found.people):
        return None
    mean, value = float(np.nanmean(found.people)), found.value
    if not (0 < value < 1 and 0 < mean < 1):
        return None
    spread = np.sqrt(_square(found.narrowed() - value)) / (mean * (1 - mean))
    if spread**2 * LEAST_ERRORS > 1:
        return None
    freedom = min(people - 1, 2 / spread**2) if spread else people - 1
    centre = logit(value) + (0 if unbiased else found.narrowing() * (logit(value) - logit(mean)))
    half = stdtrit(freedom, 0.975) * spread
    low, high = expit(centre - half), expit(centre + half)
    return [float(min(low, value)), float(max(high, value))]


def _square(deviations: np.ndarray) -> float:
    return float(np.nanmean(deviations**2))


def _enough(values: np.ndarray) -> bool:
    return np.isfinite(values).mean() >= 1 - _MOST_UNDEFINED
