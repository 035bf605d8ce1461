"""People apart into training, evaluation and test."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from data.sources.spelling import spelling_key
from runtime.errors import InputError

# People in each part of a split: neither training nor a pair of different people goes with one.
_LEAST_PEOPLE = 2


def split_people(targets: Iterable[str], shares: dict[str, float], seed: int) -> dict[str, list[str]]:
    """Give every person to exactly one part: ``{"train": 0.9, "eval": 0.05, "test": 0.05}`` → names per part.

    Names that differ in spelling alone may be one person: they go together and count as one. The number of people a
    part gets is its share of all of them, rounded so that the parts add up; a part with a positive share gets at least
    two people. Raises InputError if the shares are negative, do not add up to 1, or
    there are fewer people than that.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(targets)):
        spellings[spelling_key(name)].append(name)
    people = list(spellings.values())
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        given = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise InputError(f"the shares of people must be 0 or more and add up to 1, not {given}")
    counts = _whole_counts(len(people), shares)
    order = np.random.default_rng(seed).permutation(len(people))
    ends = np.cumsum(list(counts.values()))
    parts = np.split(order, ends[:-1])
    return {
        name: sorted(spelling for i in part for spelling in people[i]) for name, part in zip(counts, parts, strict=True)
    }


def _whole_counts(people: int, shares: dict[str, float]) -> dict[str, int]:
    """Largest-remainder rounding, then _LEAST_PEOPLE for every part with a share."""
    exact = {name: share * people for name, share in shares.items()}
    counts = {name: int(value + 1e-9) for name, value in exact.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: people - sum(counts.values())]:
        counts[name] += 1
    wanted = [name for name, share in shares.items() if share > 0]
    if people < _LEAST_PEOPLE * len(wanted):
        raise InputError(
            f"{people} people can't be split into {', '.join(wanted)}, {_LEAST_PEOPLE} people each at least; "
            "add people, or set a share to 0"
        )
    for name in wanted:
        while counts[name] < _LEAST_PEOPLE:
            counts[max(counts, key=counts.__getitem__)] -= 1
            counts[name] += 1
    return counts
