"""The mask conditions: the parts of a list of pairs that are reported separately."""

import numpy as np

ALL_PAIRS = "all pairs"
NO_MASKS = "plain-plain"
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
