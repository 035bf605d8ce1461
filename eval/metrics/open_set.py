"""A door's figures: who of the enrolled is let in under their own name, and who of the others is let in (ISO/IEC
19795-1, open set), with 95 % intervals over people. NumPy and SciPy. P probes.

TPIR: of the enrolled people's probes, the share whose person is the nearest and within the threshold. FPIR: of the
strangers' probes, the share within the threshold of anybody.
"""

from collections.abc import Mapping

import numpy as np

from eval.metrics.identification import Probes
from eval.metrics.intervals.bootstrap import LEAST_PEOPLE, RESAMPLES
from eval.metrics.intervals.resampling import PersonWeights
from eval.metrics.intervals.spread import Resamples, interval_of_share

FALSE_POSITIVE_RATES = {"FPIR 10 %": 0.1, "FPIR 1 %": 0.01, "FPIR 0.1 %": 0.001}
# A rate is given only if at least this many strangers' probes are expected to be let in.
_LEAST_ACCEPTS = 10


def rates_of(probes: Probes) -> tuple[np.ndarray, np.ndarray]:
    """FPIR and TPIR at each distance at which one of them grows, from near to far, after (0, 0)."""
    strangers, known = np.sort(probes.nearest[~probes.known]), np.sort(probes.own[probes.known])
    distinct = np.unique(np.concatenate([strangers, known[np.isfinite(known)]]))
    rates = [np.searchsorted(values, distinct, side="right") / max(len(values), 1) for values in (strangers, known)]
    return tuple(np.concatenate([[0.0], rate]) for rate in rates)


def door_figures(probes: Probes, thresholds: Mapping[str, float], seed: int = 0) -> dict:
    """Shares from 0 to 1, each with its interval (None with too few people or errors).

    ``rank_1`` and ``rank_5``; ``points``: by name, for each of ``thresholds``, which were chosen elsewhere,
    ``threshold``, ``tpir`` and ``fpir``; and for each of FALSE_POSITIVE_RATES for which there are enough strangers, the
    largest threshold that lets no larger share of them in, and its ``tpir``, whose interval counts that the threshold
    was chosen on these strangers.
    """
    resamples = _Resampled(probes, seed)
    known, strangers = probes.known, ~probes.known
    shares = {name: (known & (probes.rank <= rank), known) for name, rank in (("rank_1", 1), ("rank_5", 5))}
    for name, threshold in thresholds.items():
        shares[f"tpir {name}"] = known & (probes.own <= threshold), known
        shares[f"fpir {name}"] = strangers & (probes.nearest <= threshold), strangers
    rates = {name: rate for name, rate in FALSE_POSITIVE_RATES.items() if strangers.sum() >= _LEAST_ACCEPTS / rate}
    found = resamples.shares(shares) | (resamples.tpir_at(rates) if known.any() else {})
    points = {
        name: {"threshold": threshold, "tpir": found[f"tpir {name}"], "fpir": found[f"fpir {name}"]}
        for name, threshold in thresholds.items()
    }
    if known.any():
        points |= {name: {"threshold": threshold_at(probes, rate), "tpir": found[name]} for name, rate in rates.items()}
    counts = {"probes": int(known.sum()), "people": len(np.unique(probes.people[known]))}
    counts |= {"strangers": int(strangers.sum()), "stranger_people": len(np.unique(probes.people[strangers]))}
    return counts | {"rank_1": found["rank_1"], "rank_5": found["rank_5"], "points": points}


def threshold_at(probes: Probes, rate: float) -> float:
    """The largest threshold that lets at most ``rate`` of the strangers in: just below the first one too many."""
    nearest = np.sort(probes.nearest[~probes.known])
    return float(np.nextafter(nearest[int(np.floor(rate * len(nearest) + 1e-9))], -1))


class _Resampled:
    """Shares of the probes as they are, and with people drawn with replacement."""

    def __init__(self, probes: Probes, seed: int) -> None:
        self._probes = probes
        self._weights = PersonWeights(np.stack([probes.people] * 2, axis=1), RESAMPLES, seed)

    def shares(self, wanted: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, dict]:
        """By name the share of ``hit`` among ``among``, bool (P,) each."""
        hits = np.stack([hit for hit, _ in wanted.values()]).astype(float)
        among = np.stack([rows for _, rows in wanted.values()]).astype(float)
        with np.errstate(invalid="ignore"):
            drawn = np.array([(hits @ w) / (among @ w) for w in self._weights])
            plain = hits.sum(1) / among.sum(1)
        people = [len(np.unique(self._probes.people[rows])) for _, rows in wanted.values()]
        return {
            name: _share(value, of_name, count)
            for name, value, of_name, count in zip(wanted, plain, drawn.T, people, strict=True)
        }

    def tpir_at(self, rates: Mapping[str, float]) -> dict[str, dict]:
        """TPIR at each false positive rate, the threshold chosen anew in each resample."""
        if not rates:
            return {}
        known, strangers = np.flatnonzero(self._probes.known), np.flatnonzero(~self._probes.known)
        known = known[np.argsort(self._probes.own[known])]
        strangers = strangers[np.argsort(self._probes.nearest[strangers])]
        # How many of the known come before each stranger: within any threshold just below that stranger's distance.
        before = np.searchsorted(self._probes.own[known], self._probes.nearest[strangers], side="left")

        def tpir(weights: np.ndarray) -> list[float]:
            let_in = np.cumsum(weights[strangers], dtype=float)
            hits = np.concatenate([[0.0], np.cumsum(weights[known], dtype=float)])
            first = [np.searchsorted(let_in, rate * let_in[-1] + 1e-9, side="right") for rate in rates.values()]
            return [hits[before[min(one, len(before) - 1)]] / hits[-1] for one in first]

        drawn = np.array([tpir(weights) for weights in self._weights])
        plain = tpir(np.ones(len(self._probes.rank)))
        count = min(len(np.unique(self._probes.people[rows])) for rows in (known, strangers))
        return {name: _share(value, of_name, count) for name, value, of_name in zip(rates, plain, drawn.T, strict=True)}


def _share(value: float, drawn: np.ndarray, people: int) -> dict:
    """A share and its interval. Probes are of one person each, so their resamples count nothing too often."""
    if np.isnan(value):
        return {"share": None, "interval": None}
    found = Resamples(float(value), drawn, np.full(1, value), people)
    return {"share": float(value), "interval": interval_of_share(found) if people >= LEAST_PEOPLE else None}
