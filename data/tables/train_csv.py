"""Train CSVs: ``path,target``; a face whose target is empty has no name, and is for a teacher alone.

Other columns are allowed: ``masked`` (0 or 1) says who wears a mask, and ``x1 … y5`` are the five landmarks in pixels
of the face on disk.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from data.tables.lines import line_of
from data.tables.paths import image_paths
from data.tables.rows import read_flags, read_rows
from data.tables.targets import refuse_paths_of_two_people
from data.tables.text_array import ImagePaths
from runtime.errors import InputError

UNNAMED = -1  # the target of a face without a name
LANDMARK_COLUMNS = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]


@dataclass(frozen=True)
class FaceTable:
    """Training faces as arrays, so that workers share them without a copy.

    ``paths`` of N rows, relative to the root; ``targets`` int64 (N,) in 0 … C−1, and behind these, UNNAMED for the
    faces without a name; ``names`` (C,) the original target of each;
    ``landmarks`` float32 (N, 5, 2), nan for a masked face that has none, and ``masked`` bool (N,), or None if the
    CSV has no such columns.
    """

    paths: ImagePaths
    targets: np.ndarray
    names: list[str]
    landmarks: np.ndarray | None
    masked: np.ndarray | None

    @property
    def counts(self) -> np.ndarray:
        """Images per identity: int64 (C,)."""
        return np.bincount(self.named_targets, minlength=len(self.names))

    @property
    def named_targets(self) -> np.ndarray:
        """The targets of the first rows, those with a name."""
        return self.targets[: len(self.targets) - self.unnamed]

    @property
    def unnamed(self) -> int:
        """How many faces have no name: the last rows."""
        return int((self.targets == UNNAMED).sum())

    def rows(self, rows: np.ndarray) -> "FaceTable":
        """Some of the rows, in this order."""
        landmarks, masked = (None if part is None else part[rows] for part in (self.landmarks, self.masked))
        return FaceTable(self.paths.take(rows), self.targets[rows], self.names, landmarks, masked)


def read_train_csv(path: Path, path_prefix: str = "") -> FaceTable:
    """Read a train CSV; targets of any kind become 0 … C−1 in the sorted order of their names. Rows with an empty one
    come last.

    Raises InputError: no such file, a missing column, no rows, a single identity, one number as a target in two
    forms, an image of two identities, or a path that leaves the root.
    """
    frame = read_rows(path, ["path", "target"], categories=["target"])
    _refuse_empty(frame, ["path"], path)
    found = frame["target"].cat
    names, rank = np.unique(found.categories.to_numpy(object), return_inverse=True)
    targets = np.append(rank, UNNAMED)[found.codes]  # the code of an empty one is −1
    if len(names) < 2:
        only = f"one identity only ({names[0]})" if len(names) else "no row with a target"
        raise InputError(f"{path} has {only}; training needs at least two identities")
    landmarks = None
    if set(LANDMARK_COLUMNS) <= set(frame.columns):
        landmarks = _landmarks(frame, path)
    masked = read_flags(frame, "masked", path) if "masked" in frame else None
    if landmarks is not None:
        _refuse_unknown_landmarks(landmarks, masked, path)
    paths = image_paths(frame["path"], path, path_prefix)
    named = targets != UNNAMED
    refuse_paths_of_two_people(paths.rows[named], targets[named], paths.distinct, names, path)
    table = FaceTable(paths, targets.astype(np.int64), [str(n) for n in names], landmarks, masked)
    return table if named.all() else table.rows(np.argsort(~named, kind="stable"))


def choose_faces(
    table: FaceTable, faces: Literal["all", "plain", "masked"], most_images: int = 0, least_images: int = 0
) -> FaceTable:
    """The rows whose face is plain, or masked, at most ``most_images`` an identity (the first ones; 0: all). Faces
    without a name are no identity: of these, all that look so.

    Identities without such a row, or with fewer than ``least_images``, drop out. Raises InputError if the CSV does not
    say who wears a mask, or fewer than two identities are left.
    """
    if faces == "all" and not most_images and not least_images:
        return table
    rows = np.arange(len(table.targets))
    if faces != "all":
        if table.masked is None:
            raise InputError(f"train_faces is {faces}, but the train CSV has no column masked; set train_faces to all")
        rows = np.flatnonzero(table.masked == (faces == "masked"))
    nameless = rows[table.targets[rows] == UNNAMED]
    rows = rows[table.targets[rows] != UNNAMED]
    if most_images:
        rows = rows[_place_in_group(table.targets[rows]) < most_images]
    rows = rows[np.bincount(table.targets[rows], minlength=len(table.names))[table.targets[rows]] >= least_images]
    kept, targets = np.unique(table.targets[rows], return_inverse=True)
    if len(kept) < 2:
        if least_images:
            faces = f"{least_images} or more {faces}"
        raise InputError(f"the train CSV has {faces} faces of {len(kept)} identities; training needs at least two")
    targets = np.append(targets, table.targets[nameless])
    chosen = table.rows(np.append(rows, nameless))
    return replace(chosen, targets=targets, names=[table.names[i] for i in kept])


def _place_in_group(groups: np.ndarray) -> np.ndarray:
    """0 for the first row of each group, 1 for its second, …: (N,) → (N,)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    place = np.empty(len(groups), dtype=np.int64)
    place[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    return place


def _refuse_empty(frame: pd.DataFrame, columns: list[str], path: Path) -> None:
    empty = frame[columns].isna().any(axis=1)
    if empty.any():
        rows = ", ".join(str(line_of(path, row)) for row in np.flatnonzero(empty)[:10])
        raise InputError(f"{path}: {int(empty.sum())} rows have an empty {' or '.join(columns)} (lines {rows})")


def _landmarks(frame: pd.DataFrame, csv: Path) -> np.ndarray:
    """float32 (N, 5, 2); nan where the fields are empty."""
    values = frame[LANDMARK_COLUMNS]
    if not all(map(pd.api.types.is_numeric_dtype, values.dtypes)):
        values = values.astype(object).mask(values == "")
    try:
        return values.to_numpy(np.float32).reshape(-1, 5, 2)
    except ValueError as error:
        raise InputError(f"{csv}: a landmark is not a number ({error})") from None


def _refuse_unknown_landmarks(landmarks: np.ndarray, masked: np.ndarray | None, csv: Path) -> None:
    """Only a face that wears a mask needs none: no other will be fitted to it."""
    unknown = np.isnan(landmarks).any((1, 2))
    if masked is not None:
        unknown &= ~masked
    if unknown.any():
        line = line_of(csv, np.flatnonzero(unknown)[0])
        raise InputError(f"{csv}, line {line}: a plain face without landmarks ({int(unknown.sum())} such rows)")
