"""From distances of face pairs to the figures of the field. NumPy only.

Words: *distance* is L2 between unit embeddings, in [0, 2]. A pair is judged "same" where distance ≤
threshold. Accepting a same pair is right, accepting a different pair is a false accept. P pairs, N images, D
embedding.

Every figure that needs both kinds of pairs is None where one kind is missing; NaN is refused with an
InputError.
"""

from typing import NamedTuple

import numpy as np

from runtime.errors import InputError

BINS = 100
MAX_DISTANCE = 2.0
FALSE_ACCEPT_RATES = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
FOLDS = 10
# Pairs gathered at a time: 8192 × 512 floats are 16 MiB, which stays near the caches.
_CHUNK = 8192
# float32 rows, half-precision networks: further from length 1 than this is no rounding.
_LENGTH_TOLERANCE = 1e-2


class Curve(NamedTuple):
    """What each threshold accepts: ``same[i]`` and ``different[i]`` pairs have a distance ≤ ``distances[i]``.

    ``distances`` (U,) are the distinct ones, ascending; the last entries of the two counts are the totals.
    """

    distances: np.ndarray
    same: np.ndarray
    different: np.ndarray


class Histograms(NamedTuple):
    """Densities over shared bins; each sums to 1 / bin width (zeros where a kind of pair is missing)."""

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray


def pair_distances(embeddings: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """L2 distances of pairs of rows: float (N, D) unit rows, two int64 (P,) → float64 (P,) in [0, 2].

    Differences, not 2 − 2 cos: the latter loses half the digits near 0. Raises InputError on NaN or rows that
    are not of length 1.
    """
    embeddings = np.asarray(embeddings, dtype=np.float32)
    left, right = np.asarray(left), np.asarray(right)
    _check_rows(embeddings, np.union1d(left, right))
    distances = np.empty(len(left))
    for start in range(0, len(left), _CHUNK):
        part = slice(start, start + _CHUNK)
        difference = embeddings[left[part]] - embeddings[right[part]]
        distances[part] = np.sqrt(np.einsum("pd,pd->p", difference, difference))
    # Rounding takes opposite vectors past 2, which a histogram on [0, 2] would drop.
    return np.minimum(distances, MAX_DISTANCE)


def histograms(distances: np.ndarray, same: np.ndarray, bins: int = BINS) -> Histograms:
    """Histograms of same and different pairs over shared bins on [0, 2], each normalised to area 1."""
    distances, same = checked(distances, same)
    edges = np.linspace(0, MAX_DISTANCE, bins + 1)
    width = MAX_DISTANCE / bins
    clipped = np.clip(distances, 0, MAX_DISTANCE)
    densities = [np.histogram(clipped[kind], edges)[0] / (max(kind.sum(), 1) * width) for kind in (same, ~same)]
    return Histograms(edges, *densities)


def iou(distances: np.ndarray, same: np.ndarray) -> float | None:
    """Σ min(h_same, h_diff) / Σ max(h_same, h_diff): 0 where nothing overlaps, 1 where nothing separates.

    Equals overlap / (2n − overlap), n the mass of one histogram, as min + max of two bins is their sum.
    """
    distances, same = checked(distances, same)
    if _lacks_a_kind(same):
        return None
    _, h_same, h_different = histograms(distances, same)
    return float(np.minimum(h_same, h_different).sum() / np.maximum(h_same, h_different).sum())


def curve(distances: np.ndarray, same: np.ndarray) -> Curve:
    """Accepted same and different pairs at each distinct distance, in O(P log P)."""
    distances, same = checked(distances, same)
    order = np.argsort(distances, kind="stable")
    return _sorted_curve(distances[order], same[order])


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float | None:
    """The threshold with the best balanced accuracy, by exact search over all distinct distances.

    It lies midway between the last accepted distance and the next one, so that new pairs near either keep
    their side. Ties go to the smallest threshold: fewer false accepts. Compared as integers, so a tie is a
    tie. Where accepting everything is best (nothing separates, 0.5), it is the largest distance.
    """
    found = curve(distances, same)
    return None if _one_kind(found) else _best_threshold(found)


def accuracy(distances: np.ndarray, same: np.ndarray, threshold: float) -> float | None:
    """Share of pairs judged rightly; None without pairs."""
    distances, same = checked(distances, same)
    return float(((distances <= threshold) == same).mean()) if len(same) else None


def balanced_accuracy(distances: np.ndarray, same: np.ndarray, threshold: float) -> float | None:
    """Mean of the share of same pairs accepted and the share of different pairs rejected."""
    distances, same = checked(distances, same)
    if _lacks_a_kind(same):
        return None
    accepted = distances <= threshold
    return float((accepted[same].mean() + (~accepted[~same]).mean()) / 2)


def precision_recall_f1(
    distances: np.ndarray, same: np.ndarray, threshold: float
) -> tuple[float | None, float | None, float | None]:
    """Of "same": the share of accepted pairs that are same pairs, the share of same pairs accepted, and the harmonic
    mean of the two. Precision is 0 where nothing is accepted, as in scikit-learn; all None where a kind is missing.
    """
    distances, same = checked(distances, same)
    if _lacks_a_kind(same):
        return None, None, None
    accepted = distances <= threshold
    hits = int((accepted & same).sum())
    total = int(accepted.sum())
    precision = hits / total if total else 0.0
    return precision, hits / int(same.sum()), 2 * hits / (total + int(same.sum()))


def auc(pairs: Curve) -> float | None:
    """Area under the ROC: the chance that a same pair is closer than a different one, ties counting half."""
    if _one_kind(pairs):
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
    if _one_kind(pairs):
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
    if _one_kind(pairs) or not _enough(pairs, rate):
        return None
    last = _last_within(pairs, rate)
    return float(pairs.distances[last]) if last >= 0 else float(np.nextafter(pairs.distances[0], -1.0))


def tar_at_far(pairs: Curve, rate: float) -> float | None:
    """Share of same pairs accepted at ``threshold_at_far``; None where that is None."""
    if _one_kind(pairs) or not _enough(pairs, rate):
        return None
    last = _last_within(pairs, rate)
    return float(pairs.same[last] / pairs.same[-1]) if last >= 0 else 0.0


def fold_accuracies(distances: np.ndarray, same: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """Accuracy of each of ten folds at the threshold that is best on the other nine: float64 (10,).

    The folds are seeded and balanced: each kind of pair is shuffled and dealt out evenly (LFW protocol, Huang
    et al. 2007, with drawn folds). None with fewer than ten pairs of either kind.
    """
    distances, same = checked(distances, same)
    folds = deal_folds(distances, same, seed)
    if folds is None:
        return None
    order = np.argsort(distances, kind="stable")
    distances, same, folds = distances[order], same[order], folds[order]
    accuracies = []
    for fold in range(FOLDS):
        held_out = folds == fold
        threshold = _best_threshold(_sorted_curve(distances[~held_out], same[~held_out]))
        accuracies.append(((distances[held_out] <= threshold) == same[held_out]).mean())
    return np.array(accuracies)


def deal_folds(distances: np.ndarray, same: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """Fold 0 … 9 of each pair for ``fold_accuracies``: int64 (P,); None with fewer than ten pairs of either kind.

    Dealt in the order of the distances, so that the folds do not depend on the order of the list.
    """
    if min(same.sum(), (~same).sum()) < FOLDS:
        return None
    rng = np.random.default_rng(seed)
    order = np.argsort(distances, kind="stable")
    folds = np.empty(len(same), dtype=np.int64)
    for kind in (same, ~same):
        of_kind = order[kind[order]]
        folds[of_kind] = rng.permutation(np.arange(len(of_kind)) % FOLDS)
    return folds


def checked(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64 (P,) and bool (P,); raises InputError on NaN or infinite distances."""
    distances, same = np.asarray(distances, dtype=np.float64), np.asarray(same, dtype=bool)
    if distances.shape != same.shape or distances.ndim != 1:
        raise ValueError(f"distances {distances.shape} and same {same.shape} must be one list each, of equal length")
    wrong = int((~np.isfinite(distances)).sum())
    if wrong:
        raise InputError(f"{wrong} of {len(distances)} distances are not finite; the embeddings are broken")
    return distances, same


def _check_rows(embeddings: np.ndarray, used: np.ndarray) -> None:
    """Refuse broken rows among those that a pair uses; the black stand-in of an unreadable image may be anything."""
    lengths = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))[used]
    broken = used[~np.isfinite(lengths)]
    if len(broken):
        raise InputError(
            f"{len(broken)} of {len(used)} embeddings are not finite (the first is number {broken[0]}); "
            "the network has diverged: lower the learning rate, or test another checkpoint"
        )
    off = np.flatnonzero(np.abs(lengths - 1) > _LENGTH_TOLERANCE)
    if len(off):
        raise InputError(
            f"{len(off)} of {len(used)} embeddings are not of length 1 (number {used[off[0]]} has "
            f"{lengths[off[0]]:.4g}); the model must end in unit-length rows"
        )


def _sorted_curve(distances: np.ndarray, same: np.ndarray) -> Curve:
    last_of_its_value = np.flatnonzero(np.append(np.diff(distances) != 0, True)[: len(distances)])
    accepted_same = np.cumsum(same)[last_of_its_value]
    return Curve(distances[last_of_its_value], accepted_same, last_of_its_value + 1 - accepted_same)


def _best_threshold(pairs: Curve) -> float:
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


def _last_within(pairs: Curve, rate: float) -> int:
    """Index of the largest distance whose false accept rate is at most ``rate``, or −1."""
    # The hair on top keeps 0.001 × 30000 = 30 from being 29.999….
    allowed = np.floor(rate * pairs.different[-1] * (1 + 1e-12))
    return int(np.searchsorted(pairs.different, allowed, side="right")) - 1


def _enough(pairs: Curve, rate: float) -> bool:
    return pairs.different[-1] * rate * (1 + 1e-12) >= 10


def _one_kind(pairs: Curve) -> bool:
    return len(pairs.distances) == 0 or pairs.same[-1] == 0 or pairs.different[-1] == 0


def _lacks_a_kind(same: np.ndarray) -> bool:
    return bool(same.all() or not same.any())
