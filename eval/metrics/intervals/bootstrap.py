"""95 % intervals of all figures over people. NumPy and SciPy.

The pairs of a list are not independent: a person whose face is hard is in many of them. So people are drawn with
replacement, not pairs (``eval.metrics.intervals.resampling``), each figure is computed in each resample
(``eval.metrics.intervals.weighted_figures``), and its scatter makes the interval (``eval.metrics.intervals.spread``).

P pairs.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from eval.metrics.distances import checked
from eval.metrics.intervals.resampling import BinnedPairs, PairWeights, PersonWeights, SumsByKey
from eval.metrics.intervals.spread import Interval, Resamples, interval_of_difference, interval_of_share
from eval.metrics.intervals.weighted_figures import tar_name, weighted_figures

RESAMPLES = 1000
# Of the pairs: they only say by how much the resamples of the people scatter too much.
PAIR_RESAMPLES = 200
# With fewer people a resample is mostly repeats, and the interval says nothing.
LEAST_PEOPLE = 10


def intervals(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    *,
    threshold: float | None,
    folds: np.ndarray | None,
    rates: Mapping[str, float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval | dict] | None:
    """95 % intervals [low, high] of the figures, under the names of ``eval.metrics.figures``.

    ``people`` int64 (P, 2); ``threshold`` is held fixed (it was chosen elsewhere); ``folds`` (P,) is the fold of each
    pair, thresholds of the folds are chosen anew in each resample; ``rates`` are the false accept rates whose TAR is
    wanted. None with fewer than LEAST_PEOPLE people or one kind of pairs; a single figure is None where it rests on
    too few errors or can't be given in 95 % of the resamples.
    """
    same = np.asarray(same, dtype=bool)
    if len(np.unique(people)) < LEAST_PEOPLE or same.all() or not same.any():
        return None
    options = {"threshold": threshold, "folds": folds, "rates": rates, "resamples": resamples, "seed": seed}
    found = resampled_figures(distances, same, people, **options)
    # Few pairs make rough histograms, which overlap less than smooth ones, and a resample is rougher still: the IOU
    # lies under the truth as its resamples lie under the IOU.
    ends = {name: interval_of_share(figure, unbiased=name != "iou") for name, figure in found.items()}
    tar = {rate: ends.pop(tar_name(rate)) for rate in rates}
    return {**ends, "tar_at_far": tar}


def resampled_figures(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    *,
    threshold: float | None,
    folds: np.ndarray | None,
    rates: Mapping[str, float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Resamples]:
    """Each figure as it is and in each resample.

    Arguments as ``intervals``. The same people and seed give the same resamples, so that the differences of two
    models on the same pairs are paired.
    """
    distances, same = checked(distances, same)
    pairs = BinnedPairs(distances, same, threshold, folds)
    accepted = None if threshold is None else int(np.searchsorted(pairs.upper, threshold, side="right"))

    def figures_of(blocks: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
        found = [weighted_figures(counts, pairs.upper, accepted, rates) for counts in blocks]
        return {name: np.concatenate([block[name] for block in found]) for name in found[0]}

    plain = figures_of([pairs.counts])
    by_people = figures_of(pairs.resampled_counts(PersonWeights(people, resamples, seed)))
    by_pairs = figures_of(pairs.resampled_counts(PairWeights(people, PAIR_RESAMPLES, seed)))
    count = min(len(np.unique(people[kind])) for kind in (same, ~same))
    return {name: Resamples(float(plain[name][0]), by_people[name], by_pairs[name], count) for name in plain}


def losses_of_accuracy(
    distances: np.ndarray, same: np.ndarray, condition: np.ndarray, people: np.ndarray, threshold: float, base: str
) -> dict[str, dict]:
    """What each condition costs against ``base``: {"loss": accuracy of base − accuracy here, "interval": its 95 %}.

    Paired over people: in each resample both accuracies rest on the same people, so that an easy person in one
    condition does not count as an easy condition. No interval with fewer than LEAST_PEOPLE people.
    """
    right = (distances <= threshold) == same
    names, codes = np.unique(condition, return_inverse=True)
    here = names.tolist().index(base)
    sums = SumsByKey(codes * 2 + right, 2 * len(names))

    def losses(counts: np.ndarray) -> np.ndarray:
        """Wrong and right judgements of each condition, (…, conditions, 2) → (…, conditions)."""
        with np.errstate(invalid="ignore"):
            shares = counts[..., 1] / counts.sum(-1)
        return shares[..., [here]] - shares

    def resampled(weights: PersonWeights | PairWeights) -> np.ndarray:
        return losses(np.reshape(list(sums.of(weights)), (-1, len(names), 2)))

    plain = losses(np.bincount(codes * 2 + right, minlength=2 * len(names)).reshape(-1, 2))
    ends: list[Interval | None] = [None] * len(names)
    count = len(np.unique(people))
    if count >= LEAST_PEOPLE:
        both = resampled(PersonWeights(people, RESAMPLES)).T, resampled(PairWeights(people, PAIR_RESAMPLES)).T
        ends = [interval_of_difference(Resamples(*of_one, count)) for of_one in zip(plain, *both, strict=True)]
    return {
        str(name): {"loss": float(loss), "interval": interval}
        for name, loss, interval in zip(names, plain, ends, strict=True)
        if name != base
    }
