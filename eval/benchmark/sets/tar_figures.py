"""This project's TAR at the FARs of a protocol, with 95 % intervals over people."""

from collections.abc import Callable, Mapping, Sequence

from eval.benchmark.contract import Figure
from eval.metrics.many_pairs.tar_intervals import NearPairs, tar_intervals
from eval.metrics.roc import Curve, tar_at_far


def tar_name(rate: str) -> str:
    """The name of a figure of the table."""
    return f"TAR at FAR {rate}"


def tar_figures(pairs: Curve, rates: Mapping[str, float], near: Callable[[float], NearPairs] | None) -> list[Figure]:
    """TAR at each of ``rates`` (by name), if there are enough ``pairs`` for it. ``near`` gives the pairs for intervals
    at FARs up to a rate; None if the people are not known."""
    tars = {name: tar_at_far(pairs, rate) for name, rate in rates.items()}
    given = {name: rates[name] for name, tar in tars.items() if tar is not None}
    ends = {}
    if given and near is not None:
        ends = tar_intervals(near(max(given.values())), given) or {}
    return [Figure(tar_name(name), tar, interval=ends.get(name)) for name, tar in tars.items()]


def drawn_over(figures: Sequence[Figure]) -> str:
    """``Result.intervals_over`` of figures whose intervals are over people, if they have any."""
    return "people" if any(figure.interval for figure in figures) else ""
