"""Who is it? Figures of identification (ISO/IEC 19795-1), NumPy only. P probes, G enrolled people."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Probes:
    """What the figures need of the distances of P probes to all enrolled people.

    - ``own`` (P,): distance to the probe's own person if nobody else is as near, else inf.
    - ``nearest`` (P,): distance to the nearest person.
    - ``nearest_other`` (P,): distance to the nearest other person, inf if nobody else is enrolled.
    - ``rank`` int (P,): of the own person, 1 if nearest (a tie counts against), 0 for strangers.
    - ``people`` (P,): whose probe it is.
    """

    own: np.ndarray
    nearest: np.ndarray
    nearest_other: np.ndarray
    rank: np.ndarray
    people: np.ndarray
    enrolled_people: int

    @classmethod
    def of(cls, distances: np.ndarray, truth: np.ndarray, people: np.ndarray) -> "Probes":
        """From ``distances`` (P, G) and ``truth`` int (P,): the column of each probe's person, −1 for a stranger."""
        enrolled, rows = truth >= 0, np.arange(len(truth))
        own = np.where(enrolled, distances[rows, np.maximum(truth, 0)], np.inf)
        rank = np.where(enrolled, (distances <= own[:, None]).sum(axis=1), 0)
        others = distances.copy()
        others[rows[enrolled], truth[enrolled]] = np.inf
        own = np.where(rank == 1, own, np.inf)
        return cls(own, distances.min(axis=1), others.min(axis=1), rank, people, distances.shape[1])

    @property
    def known(self) -> np.ndarray:
        """Which probes show enrolled people, bool (P,); the others show strangers."""
        return self.rank > 0

    def part(self, rows: np.ndarray) -> "Probes":
        """The probes chosen by ``rows``, bool (P,)."""
        per_probe = ("own", "nearest", "nearest_other", "rank", "people")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_probe})


def identification_figures(probes: Probes, threshold: float | None) -> dict:
    """Rank-1 and rank-5, and with a threshold the open-set figures, as shares from 0 to 1 (None: nothing to count).

    ``rank_1``, ``rank_5``: of the enrolled people's probes, those whose person is the nearest (among the five nearest);
    a tie counts against. ``recognised``: nearest and within the threshold. ``stranger_accepted``: of the strangers'
    probes, those within the threshold of anybody. ``without_own_accepted``: the same for the enrolled people's probes,
    had they not been enrolled.
    """
    known = probes.part(probes.known)
    found = {
        "probes": len(known.rank),
        "strangers": int((~probes.known).sum()),
        "enrolled_people": probes.enrolled_people,
        "rank_1": _share(known.rank <= 1),
        "rank_5": _share(known.rank <= 5),
        "threshold": threshold,
    }
    if threshold is None:
        return found
    return found | {
        "recognised": _share(known.own <= threshold),
        "stranger_accepted": _share(probes.nearest[~probes.known] <= threshold),
        "without_own_accepted": _share(known.nearest_other <= threshold),
    }


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
