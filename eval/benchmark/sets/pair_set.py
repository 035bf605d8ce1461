"""A list of verification pairs over pictures, whatever format it came in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from data.sources.source_file import SourceFile
from eval.metrics.conditions import UNKNOWN


@dataclass(frozen=True)
class PairSet:
    """``names`` (N,): what the list calls its distinct pictures, in the order in which it names them first, and
    ``pictures`` (N,): their files, None where there is none. ``left``, ``right`` int64 (P,), ``same`` bool (P,).

    ``folds`` int64 (P,), 0 … 9: the list's own, None if it has none. ``people`` int64 (P, 2): the two people of each
    pair, None if nobody knows them. ``condition`` str (P,): who wears a real mask, "all" where nobody says.
    ``aligned``: whether the set says that its pictures are aligned to the five points of ArcFace's template; None if
    it says nothing. ``left_out``: how many pairs of the list don't count from the start, by reason.
    """

    name: str
    place: Path
    kind: str
    names: Sequence[str]
    pictures: Sequence[SourceFile | None]
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    condition: np.ndarray
    folds: np.ndarray | None = None
    people: np.ndarray | None = None
    aligned: bool | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def found(self) -> dict[int, SourceFile]:
        """The pictures that have a file, by number."""
        return {number: picture for number, picture in enumerate(self.pictures) if picture is not None}

    @property
    def missing(self) -> list[str]:
        """The names of those that have none."""
        return [name for name, picture in zip(self.names, self.pictures, strict=True) if picture is None]

    @property
    def plain(self) -> bool:
        """Whether nobody in it wears a real mask, as far as it says: then it has masked twins."""
        return not any("masked" in name for name in np.unique(self.condition).tolist())

    def part(self, rows: np.ndarray) -> "PairSet":
        """The pairs of ``rows``, bool (P,); pictures keep their numbers."""
        per_pair = ("left", "right", "same", "condition", "folds", "people")
        values = {name: getattr(self, name) for name in per_pair}
        return replace(self, **{name: value if value is None else value[rows] for name, value in values.items()})


def unknown_condition(pairs: int) -> np.ndarray:
    """Of a list that does not say who wears a mask."""
    return np.full(pairs, UNKNOWN)


def people_of(names: Sequence[str], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The two people of each pair, int64 (P, 2), by the person of each picture (N,)."""
    numbers = np.unique(np.asarray(names), return_inverse=True)[1].astype(np.int64)
    return np.stack([numbers[left], numbers[right]], axis=1)
