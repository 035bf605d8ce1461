"""Distances of face pairs, their histograms, and how far these overlap (IOU). NumPy only.

A distance is L2 between unit embeddings, in [0, 2]. P pairs, N images, D embedding.
"""

from typing import NamedTuple

import numpy as np

from runtime.errors import InputError

BINS = 100

MAX_DISTANCE = 2.0

# Pairs gathered at a time: 8192 × 512 floats are 16 MiB, which stays near the caches.
_CHUNK = 8192

# float32 rows, half-precision networks: further from length 1 than this is no rounding.
_LENGTH_TOLERANCE = 1e-2


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


def all_distances(embeddings: np.ndarray) -> np.ndarray:
    """L2 distances of every row with every row: float (N, D) unit rows → float64 (N, N)."""
    rows = np.asarray(embeddings, dtype=np.float64)
    return distances_of_cosines(rows @ rows.T)


def distances_of_cosines(cosines: np.ndarray) -> np.ndarray:
    """L2 distances in [0, 2] from the cosines of unit rows, of any shape. Near 0 half the digits are lost."""
    # Rounding can push cosines past ±1.
    return np.sqrt(np.clip(2 - 2 * cosines, 0, MAX_DISTANCE**2))


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """The rows (N, D) scaled to length 1; a row of zeros stays zero, as in scikit-learn's ``normalize``."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def unit_means(rows: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """The direction of each group's mean: (N, D) and int (N,) in 0 … ``count`` − 1 → float64 (count, D), unit rows."""
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return unit_rows(sums)


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

    Equals overlap / (2n − overlap), n the mass of one histogram, as min + max of two bins is their sum. The
    code of the system that this project rebuilds gives an IOU on the same pairs that differs by up to 0.007.
    """
    distances, same = checked(distances, same)
    if one_kind_only(same):
        return None
    _, h_same, h_different = histograms(distances, same)
    return float(np.minimum(h_same, h_different).sum() / np.maximum(h_same, h_different).sum())


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


def one_kind_only(same: np.ndarray) -> bool:
    return bool(same.all() or not same.any())
