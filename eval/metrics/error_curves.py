"""Both error rates at all thresholds, thinned to what a plot can show. NumPy only."""

from typing import NamedTuple

import numpy as np

from eval.metrics.conditions import parts
from eval.metrics.roc import Curve, curve, lacks_a_kind

# A line needs no more points than a plot has pixels.
_POINTS = 1500


class Errors(NamedTuple):
    """FAR and TAR (U,) at each distinct distance from near to far, the pairs of each kind, and both rates at the
    threshold."""

    name: str
    far: np.ndarray
    tar: np.ndarray
    same: int
    different: int
    here: tuple[float, float] | None


def errors_of(name: str, distances: np.ndarray, same: np.ndarray, threshold: float | None) -> Errors | None:
    """Both error rates at every threshold, or None if a kind of pairs is missing."""
    return errors_along(name, curve(distances, same), threshold)


def errors_along(name: str, pairs: Curve, threshold: float | None) -> Errors | None:
    """``errors_of`` pairs whose curve is already known."""
    if lacks_a_kind(pairs):
        return None
    far, tar = (np.concatenate([[0], kind / kind[-1]]) for kind in (pairs.different, pairs.same))
    here = None
    if threshold is not None:
        accepted = int(np.searchsorted(pairs.distances, threshold, side="right"))
        here = float(far[accepted]), float(tar[accepted])
    return thinned(Errors(name, far, tar, int(pairs.same[-1]), int(pairs.different[-1]), here))


def errors_by_condition(
    distances: np.ndarray, same: np.ndarray, condition: np.ndarray, threshold: float | None
) -> list[Errors]:
    """All pairs and each condition, except those that lack same or different pairs."""
    found = [errors_of(name, distances[rows], same[rows], threshold) for name, rows in parts(condition).items()]
    return [errors for errors in found if errors is not None]


def thinned(errors: Errors) -> Errors:
    """The points that the eye can tell apart: evenly through both rates, densely where they are small."""
    far, tar = errors.far, errors.tar
    if len(far) <= _POINTS:
        return errors
    low = np.geomspace(1e-7, 1, _POINTS // 3)
    rows = [np.searchsorted(far, low), np.searchsorted(tar, 1 - low), np.searchsorted(tar, np.linspace(0, 1, 500))]
    kept = np.unique(np.minimum(np.concatenate([[0], *rows, [len(far) - 1]]), len(far) - 1))
    return errors._replace(far=far[kept], tar=tar[kept])
