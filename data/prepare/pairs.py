"""Verification pairs drawn from a list of faces, each with its condition: who wears a mask."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from data.sources.spelling import spelling_key
from data.tables.pair_csv import SIDE_COLUMN
from runtime.errors import InputError

PAIR_COLUMNS = ["path", "target", "pair_path", "pair_target", "masked", "pair_masked"]

# Masked flags of (path, pair_path): plain–plain, plain–masked, masked–masked. The plain face comes first, as a
# door-entry system enrols plain and recognises masked.
_CONDITIONS = ((0, 0), (0, 1), (1, 1))

# Different people are matched at random each round; so many rounds in a row without a new pair mean that there
# is none left (among three people the one unused match comes up with probability 1/3 a round).
_EMPTY_ROUNDS = 30


def sample_pairs(faces: pd.DataFrame, pairs: int, seed: int, same: bool, max_per_person: int) -> pd.DataFrame:
    """Draw verification pairs of the same person (``same``) or of two people from ``faces`` (path, target, masked).

    The three conditions get equal parts as far as the images allow; what one can't give, the others fill up. People
    take turns, so that none dominates, and nobody is in more than ``max_per_person`` pairs. No pair comes twice (not
    turned round either), no image with itself, no plain image with its own masked copy (the same file name in plain/
    and masked/), and no pair of different people whose names differ in spelling alone. Returns at most ``pairs`` rows
    with PAIR_COLUMNS, and mask_kind and face_side of both where ``faces`` has them; fewer rows
    where there are no more.
    """
    if pairs < 1 or max_per_person < 1:
        raise InputError(f"pairs ({pairs}) and the most pairs per person ({max_per_person}) must both be 1 or more")
    drawing = _Drawing(faces, seed, same, max_per_person)
    quotas = [pairs // 3 + (i < pairs % 3) for i in range(3)]
    drawing.fill(quotas, pairs)
    drawing.fill([pairs] * 3, pairs)
    table = pd.DataFrame(drawing.rows, columns=PAIR_COLUMNS)
    by_path = faces.drop_duplicates("path").set_index("path")
    for name in ("mask_kind", SIDE_COLUMN):
        if name in faces:
            for side in ("", "pair_"):
                table[f"{side}{name}"] = table[f"{side}path"].map(by_path[name])
    return table


class _Drawing:
    """The state of one draw: images by person and condition, what is used, and how often each person came."""

    def __init__(self, faces: pd.DataFrame, seed: int, same: bool, max_per_person: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.same, self.cap = same, max_per_person
        self.people = sorted(faces["target"].unique())
        self.spelling = {person: spelling_key(person) for person in self.people}
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
        matches = zip(order[::2], order[1::2], strict=False)
        return (match for match in matches if self.spelling[match[0]] != self.spelling[match[1]])

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
