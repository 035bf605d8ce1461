"""Which of two models is better, and could it be chance? Paired on the same test pairs.

The difference of two models is taken in every resample of the people (``bootstrap``); both models see
the same resample, so what is hard about the pairs cancels. Where a model was trained with several seeds, each resample
draws seeds, too. McNemar's exact test (McNemar 1947) is given beside it for two single runs: it counts the pairs that
one judges rightly and the other wrongly, and takes pairs for independent, which people in many pairs make too hopeful.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr
from scipy.stats import binomtest

from eval.metrics.intervals.spread import Interval, Resamples, interval_of_difference


class Difference(NamedTuple):
    """First model minus second: the figure's difference, its 95 % interval, and the chance of a difference as large
    if there were none (two-sided)."""

    value: float
    interval: Interval | None
    p: float | None


def difference(first: Sequence[Resamples], second: Sequence[Resamples], value: float, seed: int = 0) -> Difference:
    """Compare a figure of two models, each a sequence of its runs; all have the same resamples.

    ``value`` is the difference on the pairs as they are. Each resample draws the runs of a model with replacement. No
    interval if a figure is missing in more than 5 % of the resamples.
    """
    rng = np.random.default_rng(seed)
    one, other = mean_of_drawn_runs(first, rng), mean_of_drawn_runs(second, rng)
    by_people, by_pairs = one.by_people - other.by_people, one.by_pairs - other.by_pairs
    found = Resamples(value, by_people, by_pairs, one.people)
    ends = interval_of_difference(found)
    return Difference(value, ends, ends and _chance_of_none(found))


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> tuple[int, int, float]:
    """Pairs that the first alone judges rightly, those that the second alone does, and the exact two-sided p.

    ``first_right`` and ``second_right``: bool (P,), the same pairs in the same order.
    """
    first = int(np.sum(first_right & ~second_right))
    second = int(np.sum(second_right & ~first_right))
    p = binomtest(first, first + second).pvalue if first + second else 1.0
    return first, second, float(p)


def mean_of_drawn_runs(runs: Sequence[Resamples], rng: np.random.Generator) -> Resamples:
    """The mean of a figure over as many runs as there are, drawn anew for each resample of the people.

    Runs count half, and half as often as they were drawn, so that they scatter half as much, as people do.
    """
    of_runs = np.stack([run.by_people for run in runs])
    drawn = rng.integers(len(runs), size=of_runs.shape)
    by_people = (of_runs.mean(axis=0) + np.take_along_axis(of_runs, drawn, axis=0).mean(axis=0)) / 2
    by_pairs = np.mean([run.by_pairs for run in runs], axis=0)
    return Resamples(float(np.mean([run.value for run in runs])), by_people, by_pairs, runs[0].people)


def _chance_of_none(found: Resamples) -> float:
    """Chance of a difference as large if there were none: Student's t, two-sided."""
    spread = found.spread()
    chance = 2 * float(stdtr(found.people - 1, -abs(found.value) / spread)) if spread else float(found.value == 0)
    # So many resamples can't show a smaller chance (Davison & Hinkley 1997, 4.2).
    return max(chance, 2 / (len(found.by_people) + 1))
