"""The parts of a list of pairs that are reported separately: mask conditions, and sizes of the faces."""

from itertools import pairwise

import numpy as np

ALL_PAIRS = "all pairs"
NO_MASKS, BOTH_MASKED = "plain-plain", "masked-masked"
# Sides of a face in its photograph, in pixels, between which pairs are reported separately.
SIZE_EDGES = (24, 40, 60, 100)
UNKNOWN = "all"  # the condition of pairs whose CSV does not say who wears a mask


def condition_names(condition: np.ndarray) -> list[str]:
    """The conditions of a list, fewer masks first: plain-plain, plain-masked, masked-masked."""
    names = {str(name) for name in np.unique(condition)} - {UNKNOWN}
    return sorted(names, key=lambda name: (name.count("masked"), name))


def parts(condition: np.ndarray) -> dict[str, np.ndarray]:
    """Rows, bool (P,), of all pairs, and of each condition where they are known."""
    condition = np.asarray(condition)
    everything = {ALL_PAIRS: np.ones(len(condition), dtype=bool)}
    return everything | {name: condition == name for name in condition_names(condition)}


def plain_and_masked(condition: np.ndarray, left: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """The images (numbers, ascending) that are known to be plain, and masked, by the pairs that they are in.

    ``left`` and ``right`` int64 (P,) number them. A plain-masked pair does not say which of the two wears the mask.
    """
    both = {"plain": NO_MASKS, "masked": BOTH_MASKED}
    rows = {name: condition == pairs for name, pairs in both.items()}
    return {name: np.unique(np.concatenate([left[chosen], right[chosen]])) for name, chosen in rows.items()}


def size_parts(sides: np.ndarray) -> dict[str, np.ndarray]:
    """Rows, bool (P,), of the pairs whose smaller face lies between two of SIZE_EDGES, small ones first.

    ``sides`` float (P, 2) in pixels, NaN where one is not known: such pairs are in no part. Empty parts drop out.
    """
    smaller = np.min(sides, axis=1)  # NaN where either is
    first, *_, last = SIZE_EDGES
    found = {f"under {first} px": smaller < first}
    for low, high in pairwise(SIZE_EDGES):
        found[f"{low}–{high - 1} px"] = (smaller >= low) & (smaller < high)
    found[f"{last} px or more"] = smaller >= last
    return {name: rows for name, rows in found.items() if rows.any()}
