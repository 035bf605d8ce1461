"""95 % intervals of all figures by resampling people. NumPy only.

The pairs of a list are not independent: a person whose face is hard is in many of them. So people are drawn with
replacement, not pairs, and a pair counts as often as its people were drawn. With c(a) the times person a was drawn, a
pair of two people weighs c(a)·c(b) (the vertex bootstrap of Snijders & Borgatti 1999; for faces, the subset
bootstrap of Bolle et al. 2004).

A pair of one and the same person weighs c(a), not c(a)². Each drawn copy of a person stands for another person of the
same kind, who brings their own same pairs once; a square would count "copy 1 against copy 2" as a same pair, which
nobody has photographed. It would also go wrong in numbers: E c² = 2 (1 draw a person on average, variance 1) doubles
the share of same pairs in every resample, where c(a) and c(a)·c(b) both have mean 1 and keep it, and the variance of
c² makes intervals of same-pair figures √(11/4) ≈ 1.7 times too wide.

P pairs, K bins of distance, F folds, B resamples at a time.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from eval.metrics.accuracy import FOLDS
from eval.metrics.distances import BINS, MAX_DISTANCE, checked, iou

RESAMPLES = 1000
# With fewer people a resample is mostly repeats, and the interval says nothing.
LEAST_PEOPLE = 10
# Up to here every distinct distance is a bin of its own and the intervals are exact; beyond, bins of at most
# 2 / 1000 of a kind of pairs move an interval's end in the fourth digit.
_MOST_BINS = 2000
_BLOCK = 20
# A product of two counts must fit into a byte. 16 draws of one person have probability 1e-14.
_MOST_DRAWS = 15

Interval = list[float]


class PersonWeights:
    """Iterates over the weights of pairs, uint8 (P,), one array for each resample of the people.

    ``people`` int64 (P, 2): the two people of each pair, equal where the pair is of one person. The same seed gives
    the same resamples.
    """

    def __init__(self, people: np.ndarray, resamples: int = RESAMPLES, seed: int = 0):
        names, codes = np.unique(people, return_inverse=True)
        codes = codes.reshape(-1, 2)
        self.people, self.resamples, self.seed = len(names), resamples, seed
        self.left = codes[:, 0].astype(np.intp)
        # The second person of a same pair is a stand-in who is drawn once each time.
        self.right = np.where(codes[:, 0] == codes[:, 1], len(names), codes[:, 1]).astype(np.intp)

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(self.seed)
        for _ in range(self.resamples):
            drawn = np.bincount(rng.integers(self.people, size=self.people), minlength=self.people + 1)
            drawn[-1] = 1
            counts = np.minimum(drawn, _MOST_DRAWS).astype(np.uint8)
            weights = counts.take(self.left)
            weights *= counts.take(self.right)
            yield weights


class _Sums:
    """Sums of the weights of pairs by a key, int (P,) in 0 … K−1: from the weights (P,) of a resample to float64 (K,).

    It puts the pairs of ``weights`` in the order of their keys, so that neighbours are summed: of few keys ten times
    as quick as a bincount.
    """

    def __init__(self, key: np.ndarray, size: int, weights: PersonWeights):
        order = np.argsort(key, kind="stable")
        key, weights.left, weights.right = key[order], weights.left[order], weights.right[order]
        self._starts = np.flatnonzero(np.diff(key, prepend=-1))
        self._filled, self._size = key[self._starts], size

    def __call__(self, weight: np.ndarray) -> np.ndarray:
        sums = np.zeros(self._size)
        sums[self._filled] = np.add.reduceat(weight, self._starts, dtype=np.int64)
        return sums


class _Bins(NamedTuple):
    """``upper`` (K,): the largest distance of each bin, ascending; ``code`` (P,): the bin of each pair."""

    upper: np.ndarray
    code: np.ndarray


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
    """95 % intervals [low, high] of the figures, under the names of ``eval.metrics.figures``: percentiles of the
    resamples, and for the IOU, which resampling pulls down, their reflection in the figure itself (``_reflected``).

    ``people`` int64 (P, 2); ``threshold`` is held fixed (it was chosen elsewhere); ``folds`` (P,) is the fold of each
    pair, thresholds of the folds are chosen anew in each resample; ``rates`` are the false accept rates whose TAR is
    wanted. None with fewer than LEAST_PEOPLE people or one kind of pairs; a single figure is None where it can't be
    given in 95 % of the resamples.
    """
    same = np.asarray(same, dtype=bool)
    if len(np.unique(people)) < LEAST_PEOPLE or same.all() or not same.any():
        return None
    options = {"threshold": threshold, "folds": folds, "rates": rates, "resamples": resamples, "seed": seed}
    found = resampled_figures(distances, same, people, **options)
    ends = {name: interval(values) for name, values in found.items()}
    ends["iou"] = _reflected(ends["iou"], iou(distances, same))
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
) -> dict[str, np.ndarray]:
    """Each figure in each resample, float64 (resamples,), nan where a resample lacks what it needs.

    Arguments as ``intervals``. The same people and seed give the same resamples, so that the differences of two
    models on the same pairs are paired.
    """
    distances, same = checked(distances, same)
    weights = PersonWeights(people, resamples, seed)
    bins = _make_bins(distances, same, threshold)
    accepted = None if threshold is None else int(np.searchsorted(bins.upper, threshold, side="right"))
    found: dict[str, list[np.ndarray]] = {}
    for counts in _resampled_counts(bins, same, folds, weights):
        for name, values in _figures(counts, bins.upper, accepted, rates).items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def losses_of_accuracy(
    distances: np.ndarray, same: np.ndarray, condition: np.ndarray, people: np.ndarray, threshold: float, base: str
) -> dict[str, dict]:
    """What each condition costs against ``base``: {"loss": accuracy of base − accuracy here, "interval": its 95 %}.

    Paired over people: in each resample both accuracies rest on the same people, so that an easy person in one
    condition does not count as an easy condition. No interval with fewer than LEAST_PEOPLE people.
    """
    right = (distances <= threshold) == same
    names, codes = np.unique(condition, return_inverse=True)
    here = {str(name): number for number, name in enumerate(names)}
    plain = np.bincount(codes, right) / np.bincount(codes)
    weights = PersonWeights(people)
    shares = np.full((weights.resamples, len(names)), np.nan)
    sums = _Sums(codes * 2 + right, 2 * len(names), weights)
    for number, weight in enumerate(weights if weights.people >= LEAST_PEOPLE else []):
        wrong, rightly = sums(weight).reshape(-1, 2).T
        totals = wrong + rightly
        shares[number] = rightly / np.where(totals > 0, totals, np.nan)
    return {
        name: {
            "loss": float(plain[here[base]] - plain[number]),
            "interval": interval(shares[:, here[base]] - shares[:, number]),
        }
        for name, number in here.items()
        if name != base
    }


def tar_name(rate: str) -> str:
    """The name of TAR at a FAR among ``resampled_figures``."""
    return f"tar {rate}"


def interval(values: np.ndarray) -> Interval | None:
    """The middle 95 % of the values; None if more than 5 % of them are nan."""
    defined = values[np.isfinite(values)]
    return np.percentile(defined, [2.5, 97.5]).tolist() if len(defined) >= 0.95 * len(values) else None


def _reflected(ends: Interval | None, value: float) -> Interval | None:
    """The basic interval of a share (Davison & Hinkley 1997, 5.2), widened to hold its value.

    Few pairs make rough histograms, which overlap less than smooth ones; a resample repeats pairs and makes them
    rougher still. So the resampled IOUs lie below the value as the value lies below the truth: of 600 pairs the
    percentiles held the truth 80 % of the time, their reflection 95 %.
    """
    if ends is None:
        return None
    low, high = ends
    return [max(0.0, min(value, 2 * value - high)), min(1.0, max(value, 2 * value - low))]


def _make_bins(distances: np.ndarray, same: np.ndarray, threshold: float | None) -> _Bins:
    """Every distinct distance, or quantiles of both kinds, with the threshold and the histogram's edges kept apart."""
    distinct = np.unique(distances)
    if len(distinct) > _MOST_BINS:
        edges = np.linspace(0, MAX_DISTANCE, BINS + 1)[1:-1]
        last_under = np.searchsorted(distinct, edges, side="left") - 1
        ends = [distinct[-1:], distinct[last_under[last_under >= 0]]]
        if threshold is not None:
            ends.append(distinct[: np.searchsorted(distinct, threshold, side="right")][-1:])
        ends += [_quantiles(np.sort(distances[kind])) for kind in (same, ~same)]
        distinct = np.unique(np.concatenate(ends))
    return _Bins(distinct, np.searchsorted(distinct, distances, side="left"))


def _quantiles(ordered: np.ndarray) -> np.ndarray:
    """Half of the bins' ends evenly through the ranks, and as many densely at the near end, for low accept rates."""
    ranks = np.concatenate([np.linspace(0, 1, _MOST_BINS // 4), np.geomspace(1e-6, 1, _MOST_BINS // 4)])
    return ordered[np.unique((ranks * (len(ordered) - 1)).astype(int))]


def _resampled_counts(
    bins: _Bins, same: np.ndarray, folds: np.ndarray | None, weights: PersonWeights
) -> Iterator[np.ndarray]:
    """Weighted counts of each fold, kind (same, different) and bin: float64 (B, F, 2, K) for B resamples at a time."""
    shape = (1 if folds is None else FOLDS, 2, len(bins.upper))
    fold = 0 if folds is None else folds
    sums = _Sums((fold * 2 + ~same) * shape[2] + bins.code, int(np.prod(shape)), weights)
    block = []
    for weight in weights:
        block.append(sums(weight).reshape(shape))
        if len(block) == _BLOCK:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)


def _figures(
    counts: np.ndarray, upper: np.ndarray, accepted: int | None, rates: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """All figures of (B, F, 2, K) counts, each float64 (B,), nan where a resample lacks what a figure needs."""
    together = counts.sum(1)
    same, different = np.moveaxis(together.cumsum(-1), 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "auc": _auc(together, different),
            "eer": _eer(same / same[:, -1:], different / different[:, -1:]),
            "iou": _iou(together, upper),
            **{tar_name(name): _tar(same, different, rate) for name, rate in rates.items()},
        }
        if accepted is not None:
            found |= _judged(same, different, accepted)
        if counts.shape[1] == FOLDS:
            found["fold_accuracy"] = _fold_accuracy(counts, upper)
    return found


def _auc(counts: np.ndarray, different: np.ndarray) -> np.ndarray:
    total = different[:, -1]
    wins = counts[:, 0] * (total[:, None] - different + counts[:, 1] / 2)
    return wins.sum(-1) / (counts[:, 0].sum(-1) * total)


def _eer(accepts: np.ndarray, false_accepts: np.ndarray) -> np.ndarray:
    """As ``roc.eer``, for each row of the two curves (B, K)."""
    start = np.zeros((len(accepts), 1))
    false_accepts = np.concatenate([start, false_accepts], axis=1)
    gap = false_accepts - (1 - np.concatenate([start, accepts], axis=1))
    after = np.argmax(gap >= 0, axis=1)[:, None]
    low, high = (np.take_along_axis(gap, after - step, axis=1) for step in (1, 0))
    first, second = (np.take_along_axis(false_accepts, after - step, axis=1) for step in (1, 0))
    return (first - low / (high - low) * (second - first))[:, 0]


def _iou(counts: np.ndarray, upper: np.ndarray) -> np.ndarray:
    edges = np.linspace(0, MAX_DISTANCE, BINS + 1)
    bar = np.clip(np.searchsorted(edges, upper, side="right") - 1, 0, BINS - 1)
    starts = np.flatnonzero(np.diff(bar, prepend=-1))
    bars = np.add.reduceat(counts, starts, axis=-1)
    same, different = np.moveaxis(bars / bars.sum(-1, keepdims=True), 1, 0)
    return np.minimum(same, different).sum(-1) / np.maximum(same, different).sum(-1)


def _tar(same: np.ndarray, different: np.ndarray, rate: float) -> np.ndarray:
    within = (different <= rate * different[:, -1:] * (1 + 1e-12)).sum(-1)
    return _up_to(same, within) / same[:, -1]


def _judged(same: np.ndarray, different: np.ndarray, accepted: int) -> dict[str, np.ndarray]:
    """Figures at a fixed threshold under which the first ``accepted`` bins lie."""
    bins = np.full(len(same), accepted)
    hits, false_accepts = _up_to(same, bins), _up_to(different, bins)
    all_same, all_different = same[:, -1], different[:, -1]
    rejected = all_different - false_accepts
    return {
        "accuracy": (hits + rejected) / (all_same + all_different),
        "balanced_accuracy": (hits / all_same + rejected / all_different) / 2,
        "precision": np.where(hits > 0, hits / (hits + false_accepts), 0.0),
        "recall": hits / all_same,
        "f1": 2 * hits / (hits + false_accepts + all_same),
    }


def _up_to(cumulated: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """What the first ``bins`` bins hold: cumulated (…, K), bins (…) → (…)."""
    last = np.take_along_axis(cumulated, np.maximum(bins - 1, 0)[..., None], axis=-1)[..., 0]
    return np.where(bins > 0, last, 0)


def _fold_accuracy(counts: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Mean over the folds of the accuracy at the threshold that is best on the others, as
    ``accuracy.fold_accuracies``; nan where the others of a fold are of one kind, which gives no threshold."""
    held_out = counts.cumsum(-1)
    others = held_out.sum(1, keepdims=True) - held_out
    same, different = others[:, :, 0], others[:, :, 1]
    score = same * different[..., -1:] - different * same[..., -1:]
    accepted = same + different
    score[accepted == 0] = -np.inf  # a bin before the first distance is no candidate
    best = np.argmax(score, axis=-1)
    # The threshold lies midway to the next distance of the other folds.
    following = (accepted <= np.take_along_axis(accepted, best[..., None], axis=-1)).sum(-1)
    middle = (upper[best] + upper[np.minimum(following, len(upper) - 1)]) / 2
    bins = np.where(following < len(upper), np.searchsorted(upper, middle, side="right"), best + 1)
    bins = np.maximum(bins, best + 1)
    right = _up_to(held_out[:, :, 0], bins) + held_out[:, :, 1, -1] - _up_to(held_out[:, :, 1], bins)
    right = np.where((others[..., -1] > 0).all(-1), right, np.nan)
    pairs = held_out[..., -1].sum(-1)
    shares = np.where(pairs > 0, right / pairs, 0)
    return shares.sum(-1) / (pairs > 0).sum(-1)
