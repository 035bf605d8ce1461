"""People apart into train, evaluation and test, and verification pairs with their condition.

Everything is drawn from a seed and the sorted names alone, so that the order of the rows does not matter.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from runtime.errors import InputError

PAIR_COLUMNS = ["path", "target", "pair_path", "pair_target", "masked", "pair_masked"]

# Masked flags of (path, pair_path): plain–plain, plain–masked, masked–masked. The plain face comes first, as a
# door-entry system enrols plain and recognises masked.
_CONDITIONS = ((0, 0), (0, 1), (1, 1))

# Different people are matched at random each round; so many rounds in a row without a new pair mean that there
# is none left (among three people the one unused match comes up with probability 1/3 a round).
_EMPTY_ROUNDS = 30

# People in each part of a split: neither training nor a pair of different people goes with one.
_LEAST_PEOPLE = 2


def split_people(targets: Iterable[str], shares: dict[str, float], seed: int) -> dict[str, list[str]]:
    """Give every person to exactly one part: ``{"train": 0.9, "eval": 0.05, "test": 0.05}`` → names per part.

    The number of people a part gets is its share of all of them, rounded so that the parts add up; a part with a
    positive share gets at least two people. Raises InputError where the shares are negative, do not add up to 1, or
    there are fewer people than that.
    """
    people = sorted(set(targets))
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        given = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise InputError(f"the shares of people must be 0 or more and add up to 1, not {given}")
    counts = _whole_counts(len(people), shares)
    order = np.random.default_rng(seed).permutation(len(people))
    ends = np.cumsum(list(counts.values()))
    parts = np.split(order, ends[:-1])
    return {name: sorted(people[i] for i in part) for name, part in zip(counts, parts, strict=True)}


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


def sample_pairs(faces: pd.DataFrame, pairs: int, seed: int, same: bool, max_per_person: int) -> pd.DataFrame:
    """Draw verification pairs of the same person (``same``) or of two people from ``faces`` (path, target, masked).

    The three conditions get equal parts as far as the images allow; what one can't give, the others fill up. People
    take turns, so that none dominates, and nobody is in more than ``max_per_person`` pairs. No pair comes twice (not
    turned round either), no image with itself, and no plain image with its own masked copy (the same file name in
    plain/ and masked/). Returns at most ``pairs`` rows with PAIR_COLUMNS, and mask_kind and pair_mask_kind where
    ``faces`` has mask_kind; fewer rows where there are no more.
    """
    if pairs < 1 or max_per_person < 1:
        raise InputError(f"pairs ({pairs}) and the most pairs a person ({max_per_person}) must both be 1 or more")
    drawing = _Drawing(faces, seed, same, max_per_person)
    quotas = [pairs // 3 + (i < pairs % 3) for i in range(3)]
    drawing.fill(quotas, pairs)
    drawing.fill([pairs] * 3, pairs)
    table = pd.DataFrame(drawing.rows, columns=PAIR_COLUMNS)
    if "mask_kind" in faces:
        kinds = faces.drop_duplicates("path").set_index("path")["mask_kind"]
        for side in ("", "pair_"):
            table[f"{side}mask_kind"] = table[f"{side}path"].map(kinds)
    return table


class _Drawing:
    """The state of one draw: images by person and condition, what is used, and how often each person came."""

    def __init__(self, faces: pd.DataFrame, seed: int, same: bool, max_per_person: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.same, self.cap = same, max_per_person
        self.people = sorted(faces["target"].unique())
        self.images: dict[tuple[str, int], list[str]] = {}
        masked = faces["masked"].astype(int)
        for person, mask, path in zip(faces["target"], masked, faces["path"], strict=True):
            self.images.setdefault((person, mask), []).append(path)
        for key in self.images:
            self.images[key] = sorted(set(self.images[key]))
        self.used: set[tuple[str, str]] = set()
        self.times: Counter[str] = Counter()
        self.taken = [0, 0, 0]
        self.rows: list[tuple] = []

    def fill(self, quotas: list[int], pairs: int) -> None:
        """Rounds of one pair a person until the quotas are reached or nothing new comes."""
        empty = 0
        while len(self.rows) < pairs and empty < (1 if self.same else _EMPTY_ROUNDS):
            before = len(self.rows)
            for person, other in self._matches():
                if len(self.rows) == pairs:
                    return
                self._draw_one(person, other, quotas)
            empty = empty + 1 if len(self.rows) == before else 0

    def _matches(self) -> Iterator[tuple[str, str]]:
        free = [person for person in self.people if self.times[person] < self.cap]
        order = [free[i] for i in self.rng.permutation(len(free))]
        if self.same:
            return zip(order, order, strict=True)
        return zip(order[::2], order[1::2], strict=False)

    def _draw_one(self, person: str, other: str, quotas: list[int]) -> None:
        """One new pair of the rarest condition that is under its quota and that these two can still give."""
        for condition in sorted(range(3), key=self.taken.__getitem__):
            if self.taken[condition] >= quotas[condition]:
                continue
            found = self._unused(person, other, *_CONDITIONS[condition])
            if found is not None:
                path, pair_path = found
                self.used |= {(path, pair_path), (pair_path, path)}
                self.times.update({person, other})
                self.taken[condition] += 1
                self.rows.append((path, person, pair_path, other, *_CONDITIONS[condition]))
                return

    def _unused(self, person: str, other: str, mask: int, pair_mask: int) -> tuple[str, str] | None:
        """Probe all combinations from a random start, so that none is overlooked and few are looked at."""
        left = self.images.get((person, mask), [])
        right = self.images.get((other, pair_mask), [])
        if not left or not right:
            return None
        total = len(left) * len(right)
        start = int(self.rng.integers(total))
        for step in range(total):
            i, j = divmod((start + step) % total, len(right))
            path, pair_path = left[i], right[j]
            if (path, pair_path) not in self.used and not self._same_photo(path, pair_path):
                return path, pair_path
        return None

    def _same_photo(self, path: str, pair_path: str) -> bool:
        return self.same and PurePosixPath(path).stem == PurePosixPath(pair_path).stem
