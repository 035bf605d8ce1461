"""The two CSV formats, and the card that says how the faces of a folder were made.

Train CSV: ``path,target``. Pair CSV: ``path,target,pair_path,pair_target``; a pair is the same person where the two
targets are equal. Other columns are allowed; ``masked`` and ``pair_masked`` (0 or 1) say who wears a mask, and
``x1 … y5`` are the five landmarks in pixels of the face on disk; ``mask_kind`` and ``pair_mask_kind`` name the mask,
empty for none.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from data.image_paths import ImagePaths
from data.pair_faults import COLUMNS, MISSING, none_left_out, split_empty, split_repeats
from data.table_files import image_paths, missing_files, read_rows, relative_paths
from runtime.errors import InputError
from runtime.files import replace_file

LANDMARK_COLUMNS = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]
CONDITIONS = ("plain-plain", "plain-masked", "masked-masked")
CARD = "dataset.json"
# A few lost files are no reason to stop; with more than this the folder is the wrong one, or half a copy.
_MOST_MISSING = 0.1


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV as a whole or not at all."""
    with replace_file(path) as temporary:
        frame.to_csv(temporary, index=False)


def write_dataset_card(folder: Path, crop: str, size: int, **more: object) -> None:
    """Write ``dataset.json``: the crop and size of the faces in ``folder``, and how they were made."""
    with replace_file(folder / CARD) as temporary:
        temporary.write_text(json.dumps({"crop": crop, "size": size, **more}, indent=2) + "\n")


def read_dataset_card(folder: Path) -> dict | None:
    """The card of a folder of faces, or None where it has none (faces made by another tool)."""
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); make the folder again or delete the file") from None


@dataclass(frozen=True)
class FaceTable:
    """Training faces as arrays, so that workers share them without a copy.

    ``paths`` of N rows, relative to the root; ``targets`` int64 (N,) in 0 … C−1; ``names`` the original target of each;
    ``landmarks`` float32 (N, 5, 2), nan for a masked face that has none, and ``masked`` bool (N,), or None where the
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
        return np.bincount(self.targets, minlength=len(self.names))

    def labelled_by_row(self) -> "FaceTable":
        """The same faces with the number of the row as the target: for a loss that knows each face by itself."""
        return replace(self, targets=np.arange(len(self.targets)))


@dataclass(frozen=True)
class PairTable:
    """Verification pairs over a list of distinct images.

    ``paths`` (N,) distinct images; ``left`` and ``right`` int64 (P,) index into them; ``same`` bool (P,);
    ``condition`` (P,) one of CONDITIONS, or "all" where the CSV does not say who wears a mask; ``people`` int64
    (P, 2) the two people, equal for a same pair; ``masks`` str (P, 2) the masks that the two wear, "" for none, or
    None where the CSV does not say; ``left_out`` the rows that do not count, with csv, line and reason.
    """

    paths: np.ndarray
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    condition: np.ndarray
    people: np.ndarray
    masks: np.ndarray | None = None
    left_out: pd.DataFrame = field(default_factory=none_left_out)

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
            left_out=pd.concat([self.left_out, gone], ignore_index=True) if len(gone) else self.left_out,
        )


def read_train_csv(path: Path, path_prefix: str = "") -> FaceTable:
    """Read a train CSV; targets of any kind become 0 … C−1 in the sorted order of their names.

    Raises InputError: no such file, a missing column, no rows, a single identity, or a path that leaves the root.
    """
    frame = read_rows(path, ["path", "target"], categories=["target"])
    _refuse_empty(frame, ["path", "target"], path)
    found = frame["target"].cat
    names, rank = np.unique(found.categories.to_numpy(object), return_inverse=True)
    targets = rank[found.codes]
    if len(names) < 2:
        raise InputError(f"{path} has one identity only ({names[0]}); training needs at least two")
    landmarks = None
    if set(LANDMARK_COLUMNS) <= set(frame.columns):
        landmarks = _landmarks(frame, path)
    masked = _flags(frame, "masked", path) if "masked" in frame else None
    if landmarks is not None:
        _refuse_unknown_landmarks(landmarks, masked, path)
    paths = image_paths(frame["path"], path, path_prefix)
    return FaceTable(paths, targets.astype(np.int64), [str(n) for n in names], landmarks, masked)


def choose_faces(table: FaceTable, faces: Literal["all", "plain", "masked"], most_images: int = 0) -> FaceTable:
    """The rows whose face is plain, or masked, at most ``most_images`` an identity (the first ones; 0: all).

    Identities without such a row drop out. Raises InputError where the CSV does not say who wears a mask, or fewer
    than two identities are left.
    """
    if faces == "all" and not most_images:
        return table
    rows = np.arange(len(table.targets))
    if faces != "all":
        if table.masked is None:
            raise InputError(f"train_faces is {faces}, but the train CSV has no column masked; set train_faces to all")
        rows = np.flatnonzero(table.masked == (faces == "masked"))
    if most_images:
        rows = rows[_place_in_group(table.targets[rows]) < most_images]
    kept, targets = np.unique(table.targets[rows], return_inverse=True)
    if len(kept) < 2:
        raise InputError(f"the train CSV has {faces} faces of {len(kept)} identities; training needs at least two")
    landmarks = None if table.landmarks is None else table.landmarks[rows]
    masked = None if table.masked is None else table.masked[rows]
    return FaceTable(table.paths.take(rows), targets, [table.names[i] for i in kept], landmarks, masked)


def _place_in_group(groups: np.ndarray) -> np.ndarray:
    """0 for the first row of each group, 1 for its second, …: (N,) → (N,)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    place = np.empty(len(groups), dtype=np.int64)
    place[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    return place


def read_pair_csvs(paths: Iterable[Path], path_prefix: str = "") -> PairTable:
    """Read one or more pair CSVs as one list; the columns are the two targets, or ``same`` (0 or 1) in their place.

    Rows with an empty field, an image paired with itself, and pairs listed twice (turned round, too) are left out and
    named in ``left_out``. Raises InputError: no such file, a missing column, no rows, or a path that leaves the root.
    """
    read = [_read_pair_frame(Path(path), path_prefix) for path in paths]
    frame, repeats = split_repeats(pd.concat([rows for rows, _ in read], ignore_index=True))
    lost = pd.concat([*(empty for _, empty in read), repeats], ignore_index=True)
    if frame.empty:
        raise InputError(f"{', '.join(map(str, paths))}: not one row is a pair of two images; make the pairs again")
    both = np.concatenate([frame["path"].to_numpy(), frame["pair_path"].to_numpy()])
    codes, images = pd.factorize(both)
    left, right = np.split(codes.astype(np.int64), 2)
    same, condition = frame["same"].to_numpy(bool), frame["condition"].to_numpy(str)
    if frame[["target", "pair_target"]].isna().any(axis=None):
        people = _linked_people(left, right, same)
    else:
        names = np.concatenate([frame["target"].to_numpy(), frame["pair_target"].to_numpy()])
        people = pd.factorize(names)[0].astype(np.int64)
        people = np.stack(np.split(people, 2), axis=1)
    kinds = frame[["mask_kind", "pair_mask_kind"]]
    masks = None if kinds.isna().any(axis=None) else kinds.to_numpy(str)
    return PairTable(np.asarray(images, dtype=str), left, right, same, condition, people, masks, lost)


def without_missing(pairs: PairTable, root: Path, csv: str) -> PairTable:
    """The pairs whose two images lie under ``root``; the others are in ``left_out``, and their images in no list.

    Raises InputError with the count and the first ten where there is no such folder, or where more than a tenth of
    the images are missing: then a setting is wrong, not a file lost.
    """
    _require_folder(root)
    missing = missing_files(root, pairs.paths)
    if not missing:
        return pairs
    if len(missing) > _MOST_MISSING * len(pairs.paths):
        raise InputError(_missing_line(missing, csv, root))
    gone = np.isin(pairs.paths, missing)
    kept = pairs.without(gone[pairs.left] | gone[pairs.right], MISSING)
    used, rows = np.unique(np.concatenate([kept.left, kept.right]), return_inverse=True)
    left, right = np.split(rows.astype(np.int64), 2)
    return replace(kept, paths=pairs.paths[used], left=left, right=right)


def require_files(root: Path, paths: Iterable[str], csv: str) -> None:
    """Raise InputError with the count and the first ten of the images that a CSV names and the folders lack."""
    _require_folder(root)
    missing = missing_files(root, paths)
    if missing:
        raise InputError(_missing_line(missing, csv, root))


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"the data folder {root} is not there; set data_root to the folder the CSVs' paths start from")


def _missing_line(missing: list[str], csv: str, root: Path) -> str:
    first = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
    return f"{csv}: {len(missing)} images are not under {root}: {first}; mend the CSV or data_root"


def _refuse_empty(frame: pd.DataFrame, columns: list[str], path: Path) -> None:
    empty = frame[columns].isna().any(axis=1)
    if empty.any():
        rows = ", ".join(str(i + 2) for i in np.flatnonzero(empty)[:10])
        raise InputError(f"{path}: {int(empty.sum())} rows have an empty {' or '.join(columns)} (lines {rows})")


def _read_pair_frame(path: Path, path_prefix: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The whole rows of a CSV with same, condition and what else is known, and the rows with an empty field."""
    frame = read_rows(path, ["path", "pair_path"])
    by_targets = {"target", "pair_target"} <= set(frame.columns)
    if "same" not in frame and not by_targets:
        raise InputError(f"{path} lacks the columns target and pair_target, or same in their place")
    flags = ["masked", "pair_masked"] if {"masked", "pair_masked"} <= set(frame.columns) else []
    needed = ["path", "pair_path", *(["same"] if "same" in frame else ["target", "pair_target"]), *flags]
    frame, empty = split_empty(frame.assign(csv=path.name, line=np.arange(len(frame)) + 2), needed)
    same = _flags(frame, "same", path) if "same" in frame else (frame["target"] == frame["pair_target"]).to_numpy()
    condition = np.full(len(frame), "all", dtype=object)
    if flags:
        masks = _flags(frame, "masked", path).astype(int) + _flags(frame, "pair_masked", path)
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
        }
    )
    return whole, empty


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
        line = int(np.flatnonzero(unknown)[0]) + 2
        raise InputError(f"{csv}, line {line}: a plain face without landmarks ({int(unknown.sum())} such rows)")


def _flags(frame: pd.DataFrame, column: str, csv: Path) -> np.ndarray:
    values = pd.to_numeric(frame[column], errors="coerce")
    if not values.isin([0, 1]).all():
        row = frame.index[~values.isin([0, 1])][0]
        raise InputError(f"{csv}, line {row + 2}: {column} must be 0 or 1, not {frame[column][row]!r}")
    return values.to_numpy(bool)
