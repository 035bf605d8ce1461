"""Pair CSVs: ``path,target,pair_path,pair_target``; a pair is the same person where the two targets are equal.

Other columns are allowed: ``masked`` and ``pair_masked`` (0 or 1) say who wears a mask; ``mask_kind`` and
``pair_mask_kind`` name the mask, empty for none; ``face_side`` and ``pair_face_side`` are the sides of the two faces in
their photographs, in pixels; ``fold`` (1 … 10) is the fold of a published list. ``same`` (0 or 1) can stand in place of
the targets.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from data.tables.lines import lines_of
from data.tables.pair_faults import COLUMNS, MISSING, none_left_out, split_empty, split_repeats
from data.tables.paths import missing_files, missing_line, relative_paths, require_folder
from data.tables.rows import read_flags, read_rows
from data.tables.targets import refuse_numbers_in_two_forms, refuse_paths_of_two_people
from runtime.errors import InputError

# In train CSVs too: the shorter side of the detector's box around the face in the photograph.
SIDE_COLUMN = "face_side"
# In pair CSVs of lists that have ten folds of their own.
FOLD_COLUMN = "fold"
FOLDS = 10

CONDITIONS = ("plain-plain", "plain-masked", "masked-masked")

_SIDES = [SIDE_COLUMN, f"pair_{SIDE_COLUMN}"]

# A few lost files are no reason to stop; with more than this the folder is the wrong one, or half a copy.
_MOST_MISSING = 0.1


@dataclass(frozen=True)
class PairTable:
    """Verification pairs over a list of distinct images.

    ``paths`` (N,) distinct images; ``left`` and ``right`` int64 (P,) index into them; ``same`` bool (P,);
    ``condition`` (P,) one of CONDITIONS, or "all" where the CSV does not say who wears a mask; ``people`` int64
    (P, 2) the two people, equal for a same pair; ``masks`` str (P, 2) the masks that the two wear, "" for none, or
    None where the CSV does not say; ``sides`` float64 (P, 2) of the two faces in their photographs, in pixels, NaN
    where one is not known, or None where no CSV says; ``left_out`` the rows that do not count, with csv, line and
    reason; ``names`` str (K,) the targets of the people that ``people`` numbers, or None if the CSV gives none;
    ``folds`` int64 (P,), 0 … 9, the list's own, or None if a CSV says nothing of them.
    """

    paths: np.ndarray
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    condition: np.ndarray
    people: np.ndarray
    masks: np.ndarray | None = None
    left_out: pd.DataFrame = field(default_factory=none_left_out)
    names: np.ndarray | None = None
    sides: np.ndarray | None = None
    folds: np.ndarray | None = None

    def without(self, lost: np.ndarray, reason: str) -> "PairTable":
        """The pairs that are not ``lost`` (bool (P,)); the others go to ``left_out``. Images keep their numbers."""
        keep = ~lost
        names = {"path": self.paths[self.left[lost]], "pair_path": self.paths[self.right[lost]]}
        gone = pd.DataFrame({"csv": "", "line": 0, "reason": reason, **names})[COLUMNS]
        return replace(
            self,
            left=self.left[keep],
            right=self.right[keep],
            same=self.same[keep],
            condition=self.condition[keep],
            people=self.people[keep],
            masks=None if self.masks is None else self.masks[keep],
            sides=None if self.sides is None else self.sides[keep],
            folds=None if self.folds is None else self.folds[keep],
            left_out=pd.concat([self.left_out, gone], ignore_index=True) if len(gone) else self.left_out,
        )


def read_pair_csvs(paths: Iterable[Path], path_prefix: str | None = "") -> PairTable:
    """Read one or more pair CSVs as one list; the columns are the two targets, or ``same`` (0 or 1) in their place.

    Rows with an empty field, an image paired with itself, and pairs listed twice (turned round, too) are left out and
    named in ``left_out``. Raises InputError: no such file, or none at all, a missing column, no rows, a path that
    leaves the root, one number as a target in two forms, an image with two targets in one CSV, or a ``same`` that
    contradicts the targets. ``path_prefix`` as in ``relative_paths``.
    """
    paths = list(paths)
    if not paths:
        raise InputError("no pair CSV is named; give at least one")
    read = [_read_pair_frame(Path(path), path_prefix) for path in paths]
    targets = pd.unique(np.concatenate([rows[c] for rows, _ in read for c in ("target", "pair_target")]))
    refuse_numbers_in_two_forms(targets, ", ".join(map(str, paths)))
    frame, repeats = split_repeats(pd.concat([rows for rows, _ in read], ignore_index=True))
    lost = pd.concat([*(empty for _, empty in read), repeats], ignore_index=True)
    if frame.empty:
        raise InputError(f"{', '.join(map(str, paths))}: not one row is a pair of two images; make the pairs again")
    both = np.concatenate([frame["path"].to_numpy(), frame["pair_path"].to_numpy()])
    codes, images = pd.factorize(both)
    left, right = np.split(codes.astype(np.int64), 2)
    same, condition = frame["same"].to_numpy(bool), frame["condition"].to_numpy(str)
    if frame[["target", "pair_target"]].isna().any(axis=None):
        people, names = _linked_people(left, right, same), None
    else:
        people, names = pd.factorize(np.concatenate([frame["target"].to_numpy(), frame["pair_target"].to_numpy()]))
        people, names = np.stack(np.split(people.astype(np.int64), 2), axis=1), np.asarray(names, dtype=str)
    kinds = frame[["mask_kind", "pair_mask_kind"]]
    masks = None if kinds.isna().any(axis=None) else kinds.to_numpy(str)
    sides = frame[_SIDES].to_numpy(np.float64)
    sides = None if np.isnan(sides).all() else sides
    folds = None if frame[FOLD_COLUMN].isna().any() else frame[FOLD_COLUMN].to_numpy(np.int64) - 1
    images = np.asarray(images, dtype=str)
    return PairTable(images, left, right, same, condition, people, masks, lost, names, sides, folds)


def without_missing(pairs: PairTable, root: Path, csv: str) -> PairTable:
    """The pairs whose two images lie under ``root``; the others are in ``left_out``, and their images in no list.

    Raises InputError with the count and the first ten where there is no such folder, or where more than a tenth of
    the images are missing, for then a setting is wrong, not a file lost; or where no pair is left.
    """
    require_folder(root)
    missing = missing_files(root, pairs.paths)
    if not missing:
        return pairs
    gone = np.isin(pairs.paths, missing)
    lost = gone[pairs.left] | gone[pairs.right]
    if len(missing) > _MOST_MISSING * len(pairs.paths) or lost.all():
        raise InputError(missing_line(missing, csv, root))
    kept = pairs.without(lost, MISSING)
    used, rows = np.unique(np.concatenate([kept.left, kept.right]), return_inverse=True)
    left, right = np.split(rows.astype(np.int64), 2)
    return replace(kept, paths=pairs.paths[used], left=left, right=right)


def _read_pair_frame(path: Path, path_prefix: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The whole rows of a CSV with same, condition and what else is known, and the rows with an empty field."""
    frame = read_rows(path, ["path", "pair_path"])
    by_targets = {"target", "pair_target"} <= set(frame.columns)
    if "same" not in frame and not by_targets:
        raise InputError(f"{path} lacks the columns target and pair_target, or same in their place")
    flags = ["masked", "pair_masked"] if {"masked", "pair_masked"} <= set(frame.columns) else []
    needed = ["path", "pair_path", *(["same"] if "same" in frame else ["target", "pair_target"]), *flags]
    frame, empty = split_empty(frame.assign(csv=path.name, line=lines_of(path, len(frame))), needed)
    same = _same(frame, path, by_targets)
    condition = np.full(len(frame), "all", dtype=object)
    if flags:
        masks = read_flags(frame, "masked", path).astype(int) + read_flags(frame, "pair_masked", path)
        condition = np.asarray(CONDITIONS, dtype=object)[masks]
    kinds = {"mask_kind", "pair_mask_kind"} <= set(frame.columns)
    whole = pd.DataFrame(
        {
            "csv": path.name,
            "line": frame["line"],
            "path": relative_paths(frame["path"], path, path_prefix),
            "pair_path": relative_paths(frame["pair_path"], path, path_prefix),
            "same": same,
            "condition": condition,
            "target": frame["target"] if by_targets else None,
            "pair_target": frame["pair_target"] if by_targets else None,
            "mask_kind": frame["mask_kind"].fillna("") if kinds else None,
            "pair_mask_kind": frame["pair_mask_kind"].fillna("") if kinds else None,
            **{name: _side(frame, name, path) for name in _SIDES},
            FOLD_COLUMN: _fold(frame, path),
        }
    )
    if by_targets:
        _refuse_two_targets(whole, path)
    return whole, empty


def _side(frame: pd.DataFrame, name: str, path: Path) -> pd.Series | float:
    """The sides of a column in pixels, NaN where they are not known."""
    if name not in frame:
        return np.nan
    sides = pd.to_numeric(frame[name], errors="coerce")
    given = frame[name].notna() & (frame[name] != "")
    wrong = given & ~(np.isfinite(sides) & (sides > 0))
    if wrong.any():
        row = frame[wrong].iloc[0]
        raise InputError(f"{path}, line {row['line']}: {name} must be pixels above 0, or empty, not {str(row[name])!r}")
    return sides


def _fold(frame: pd.DataFrame, path: Path) -> pd.Series | float:
    """The folds of the column, 1 … 10, NaN without one."""
    if FOLD_COLUMN not in frame:
        return np.nan
    folds = pd.to_numeric(frame[FOLD_COLUMN], errors="coerce")
    wrong = ~folds.isin(range(1, FOLDS + 1))
    if wrong.any():
        row = frame[wrong].iloc[0]
        raise InputError(
            f"{path}, line {row['line']}: {FOLD_COLUMN} must be 1 to {FOLDS}, not {str(row[FOLD_COLUMN])!r}; "
            "mend it, or rename the column if it holds something else"
        )
    return folds


def _same(frame: pd.DataFrame, path: Path, by_targets: bool) -> np.ndarray:
    """Which rows are pairs of the same person: bool (P,)."""
    equal = (frame["target"] == frame["pair_target"]).to_numpy() if by_targets else None
    if "same" not in frame:
        return equal
    same = read_flags(frame, "same", path)
    if by_targets:
        contradicts = (same != equal) & frame[["target", "pair_target"]].notna().all(axis=1).to_numpy()
        if contradicts.any():
            row = frame[contradicts].iloc[0]
            raise InputError(
                f"{path}, line {row['line']}: same is {row['same']}, but the targets are {row['target']} and "
                f"{row['pair_target']} ({int(contradicts.sum())} such rows); mend them, or delete one of the columns"
            )
    return same


def _refuse_two_targets(whole: pd.DataFrame, path: Path) -> None:
    images, paths = pd.factorize(np.concatenate([whole["path"], whole["pair_path"]]))
    people, names = pd.factorize(np.concatenate([whole["target"], whole["pair_target"]]))
    known = people >= 0
    refuse_paths_of_two_people(images[known], people[known], paths, names, path)


def _linked_people(left: np.ndarray, right: np.ndarray, same: np.ndarray) -> np.ndarray:
    """People of pairs without targets, int64 (P, 2): images that same pairs link, over any number of steps, are one."""
    person = np.arange(max(left.max(), right.max()) + 1)
    one, other = left[same], right[same]
    while True:
        nearest = np.minimum(person[one], person[other])
        before = person.copy()
        np.minimum.at(person, one, nearest)
        np.minimum.at(person, other, nearest)
        person = person[person]
        if (person == before).all():
            return np.stack([person[left], person[right]], axis=1)
