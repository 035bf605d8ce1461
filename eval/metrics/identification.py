"""Who is it? Figures of identification (ISO/IEC 19795-1), NumPy only. P probes, G enrolled people."""

import numpy as np


def identification_figures(distances: np.ndarray, truth: np.ndarray, threshold: float | None) -> dict:
    """Rank-1 and rank-5, and with a threshold the open-set figures, as shares from 0 to 1 (None: nothing to count).

    ``distances`` float (P, G) of each probe to each enrolled person; ``truth`` int (P,), the person's column, −1 for
    a stranger. ``rank_1``, ``rank_5``: of the enrolled people's probes, those whose person is the nearest (among the
    five nearest); a tie counts against. ``recognised``: nearest and within the threshold. ``stranger_accepted``: of
    the strangers' probes, those within the threshold of anybody. ``without_own_accepted``: the same for the enrolled
    people's probes, had they not been enrolled.
    """
    enrolled = truth >= 0
    known, column = distances[enrolled], truth[enrolled]
    own = known[np.arange(len(known)), column]
    rank = (known <= own[:, None]).sum(axis=1)
    found = {
        "probes": len(known),
        "strangers": int((~enrolled).sum()),
        "enrolled_people": distances.shape[1],
        "rank_1": _share(rank <= 1),
        "rank_5": _share(rank <= 5),
        "threshold": threshold,
    }
    if threshold is None:
        return found
    others = known.copy()
    others[np.arange(len(known)), column] = np.inf
    return found | {
        "recognised": _share((rank <= 1) & (own <= threshold)),
        "stranger_accepted": _share((distances[~enrolled] <= threshold).any(axis=1)),
        "without_own_accepted": _share((others <= threshold).any(axis=1)),
    }


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
