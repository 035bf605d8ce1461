"""The two CSV formats, and the card that says how the faces of a folder were made.

Train CSV: ``path,target``. Pair CSV: ``path,target,pair_path,pair_target``; a pair is the same person where the two
targets are equal. Other columns are allowed; ``masked`` and ``pair_masked`` (0 or 1) say who wears a mask, and
``x1 … y5`` are the five landmarks in pixels of the face on disk.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from runtime.errors import InputError
from runtime.files import replace_file

LANDMARK_COLUMNS = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]
CONDITIONS = ("plain-plain", "plain-masked", "masked-masked")
CARD = "dataset.json"


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

    ``paths`` (N,) relative to the root; ``targets`` int64 (N,) in 0 … C−1; ``names`` the original target of each;
    ``landmarks`` float32 (N, 5, 2) or None; ``masked`` bool (N,) or None where the CSV has no such column.
    """

    paths: np.ndarray
    targets: np.ndarray
    names: list[str]
    landmarks: np.ndarray | None
    masked: np.ndarray | None

    @property
    def counts(self) -> np.ndarray:
        """Images per identity: int64 (C,)."""
        return np.bincount(self.targets, minlength=len(self.names))


@dataclass(frozen=True)
class PairTable:
    """Verification pairs over a list of distinct images.

    ``paths`` (N,) distinct images; ``left`` and ``right`` int64 (P,) index into them; ``same`` bool (P,);
    ``condition`` (P,) one of CONDITIONS, or "all" where the CSV does not say who wears a mask.
    """

    paths: np.ndarray
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    condition: np.ndarray


def read_train_csv(path: Path, path_prefix: str = "") -> FaceTable:
    """Read a train CSV; targets of any kind become 0 … C−1 in the sorted order of their names.

    Raises InputError: no such file, a missing column, no rows, a single identity, or a path that leaves the root.
    """
    frame = _read_csv(path, ["path", "target"])
    names, targets = np.unique(frame["target"].to_numpy(), return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{path} has one identity only ({names[0]}); training needs at least two")
    landmarks = None
    if set(LANDMARK_COLUMNS) <= set(frame.columns):
        landmarks = _numbers(frame, LANDMARK_COLUMNS, path).reshape(-1, 5, 2)
    masked = _flags(frame, "masked", path) if "masked" in frame else None
    paths = _relative_paths(frame["path"], path, path_prefix)
    return FaceTable(paths, targets.astype(np.int64), [str(n) for n in names], landmarks, masked)


def choose_faces(table: FaceTable, faces: Literal["all", "plain", "masked"]) -> FaceTable:
    """The rows whose face is plain, or masked; identities without such a row drop out.

    Raises InputError where the CSV does not say who wears a mask, or fewer than two identities are left.
    """
    if faces == "all":
        return table
    if table.masked is None:
        raise InputError(f"train_faces is {faces}, but the train CSV has no column masked; set train_faces to all")
    rows = np.flatnonzero(table.masked == (faces == "masked"))
    kept, targets = np.unique(table.targets[rows], return_inverse=True)
    if len(kept) < 2:
        raise InputError(f"the train CSV has {faces} faces of {len(kept)} identities; training needs at least two")
    landmarks = None if table.landmarks is None else table.landmarks[rows]
    return FaceTable(table.paths[rows], targets, [table.names[i] for i in kept], landmarks, table.masked[rows])


def read_pair_csvs(paths: Iterable[Path], path_prefix: str = "") -> PairTable:
    """Read one or more pair CSVs as one list; the columns are the two targets, or ``same`` (0 or 1) in their place.

    Raises InputError: no such file, a missing column, no rows, or a path that leaves the root.
    """
    frames = [_read_pair_frame(Path(path), path_prefix) for path in paths]
    frame = pd.concat(frames, ignore_index=True)
    both = np.concatenate([frame["path"].to_numpy(), frame["pair_path"].to_numpy()])
    codes, images = pd.factorize(both)
    left, right = np.split(codes.astype(np.int64), 2)
    same, condition = frame["same"].to_numpy(bool), frame["condition"].to_numpy(str)
    return PairTable(np.asarray(images, dtype=str), left, right, same, condition)


def missing_files(root: Path, paths: Iterable[str]) -> list[str]:
    """Paths with no file under ``root``. Folders are listed once each, which is far quicker than a look per file."""
    wanted: dict[str, set[str]] = {}
    for path in dict.fromkeys(paths):
        folder, _, name = path.rpartition("/")
        wanted.setdefault(folder, set()).add(name)
    missing = []
    for folder, names in wanted.items():
        try:
            present = set(os.listdir(root / folder))
        except OSError:
            present = set()
        missing += [f"{folder}/{name}".lstrip("/") for name in names - present]
    return sorted(missing)


def require_files(root: Path, paths: Iterable[str], csv: str) -> None:
    """Raise InputError with the count and the first ten of the images that a CSV names and the folders lack."""
    if not root.is_dir():
        raise InputError(f"the data folder {root} is not there; set data_root to the folder the CSVs' paths start from")
    missing = missing_files(root, paths)
    if missing:
        first = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise InputError(f"{csv}: {len(missing)} images are not under {root}: {first}; mend the CSV or data_root")


def _read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        # Targets and paths stay text: "007" and "7" are two people, and a column of names is no number.
        # Only the empty field is missing: somebody may be called "NA" or "None".
        text = ("path", "target", "pair_path", "pair_target")
        missing = {key: [""] for key in text}
        frame = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=missing)
    except FileNotFoundError:
        raise InputError(f"{path} is not there; set the CSV's setting, or make the data with data.prepare") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} can't be read as a CSV: {' '.join(str(error).split())}") from None
    lacking = [c for c in columns if c not in frame.columns]
    if lacking:
        have = ", ".join(map(str, frame.columns))
        raise InputError(f"{path} lacks the column {', '.join(lacking)} (it has: {have})")
    if frame.empty:
        raise InputError(f"{path} has a header and no rows; make it again, or point the setting to another CSV")
    empty = frame[columns].isna().any(axis=1)
    if empty.any():
        rows = ", ".join(str(i + 2) for i in np.flatnonzero(empty)[:10])
        raise InputError(f"{path}: {int(empty.sum())} rows have an empty {' or '.join(columns)} (lines {rows})")
    return frame


def _read_pair_frame(path: Path, path_prefix: str) -> pd.DataFrame:
    frame = _read_csv(path, ["path", "pair_path"])
    if "same" in frame:
        same = _flags(frame, "same", path)
    elif {"target", "pair_target"} <= set(frame.columns):
        same = (frame["target"] == frame["pair_target"]).to_numpy()
    else:
        raise InputError(f"{path} lacks the columns target and pair_target, or same in their place")
    condition = np.full(len(frame), "all", dtype=object)
    if {"masked", "pair_masked"} <= set(frame.columns):
        masks = _flags(frame, "masked", path).astype(int) + _flags(frame, "pair_masked", path)
        condition = np.asarray(CONDITIONS, dtype=object)[masks]
    return pd.DataFrame(
        {
            "path": _relative_paths(frame["path"], path, path_prefix),
            "pair_path": _relative_paths(frame["pair_path"], path, path_prefix),
            "same": same,
            "condition": condition,
        }
    )


def _numbers(frame: pd.DataFrame, columns: list[str], csv: Path) -> np.ndarray:
    try:
        return frame[columns].to_numpy(np.float32)
    except ValueError as error:
        raise InputError(f"{csv}: a landmark is not a number ({error})") from None


def _flags(frame: pd.DataFrame, column: str, csv: Path) -> np.ndarray:
    values = pd.to_numeric(frame[column], errors="coerce")
    if not values.isin([0, 1]).all():
        line = int(np.flatnonzero(~values.isin([0, 1]))[0]) + 2
        raise InputError(f"{csv}, line {line}: {column} must be 0 or 1, not {frame[column].iloc[line - 2]!r}")
    return values.to_numpy(bool)


def _relative_paths(column: pd.Series, csv: Path, path_prefix: str) -> np.ndarray:
    """Paths under the root with '/' between their parts; ``path_prefix`` OLD=NEW maps foreign absolute ones."""
    paths = column.str.replace("\\", "/", regex=False)
    if path_prefix:
        old, equals, new = path_prefix.partition("=")
        if not (old and equals):
            raise InputError(f"path_prefix must be OLD=NEW, not {path_prefix!r}")
        old, new = old.rstrip("/") + "/", new.strip("/") + "/" if new.strip("/") else ""
        paths = paths.where(~paths.str.startswith(old), new + paths.str.slice(len(old)))
    outside = paths.str.startswith("/") | paths.str.match(r"^[A-Za-z]:") | paths.str.contains(r"(?:^|/)\.\.(?:/|$)")
    if outside.any():
        line = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{csv}, line {line + 2}: {column.iloc[line]} leaves the data folder ({int(outside.sum())} such rows); "
            "paths are relative to data_root, or map them with path_prefix OLD=NEW"
        )
    clean = paths.str.contains(r"(?:^|/)\.?/|/$", regex=True)
    if clean.any():
        paths = paths.where(~clean, paths.map(lambda p: str(PurePosixPath(p))))
    return paths.to_numpy(str)
