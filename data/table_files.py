"""The rows of a CSV or a pack as a frame, and their paths: quick enough for millions of rows."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from data.image_paths import ImagePaths
from data.pack_file import SUFFIX, Pack
from runtime.errors import InputError

# Targets and paths stay text: "007" and "7" are two people, and a column of names is no number.
_TEXT = ("path", "target", "pair_path", "pair_target", "mask_kind", "pair_mask_kind")
# One of these in a path, with a line feed around it, asks for a closer look.
_ODD = ("\\", "\n/", "//", "/.", "\n.", ":", "/\n")


def read_rows(path: Path, columns: list[str], categories: Sequence[str] = ()) -> pd.DataFrame:
    """All columns of a CSV or a pack, text as Python strings, empty fields as missing.

    Columns of few different values, named in ``categories``, become a pandas category, which spares millions of rows a
    string each. Raises InputError: no such file, not readable, one of ``columns`` is lacking, or no rows.
    """
    frame = Pack(path).frame(categories) if path.suffix == SUFFIX else _read_csv(path, categories)
    lacking = [c for c in columns if c not in frame.columns]
    if lacking:
        have = ", ".join(map(str, frame.columns))
        raise InputError(f"{path} lacks the column {', '.join(lacking)} (it has: {have})")
    if frame.empty:
        raise InputError(f"{path} has a header and no rows; make it again, or point the setting to another CSV")
    return frame


def _read_csv(path: Path, categories: Sequence[str]) -> pd.DataFrame:
    try:
        # Only the empty field is missing: somebody may be called "NA" or "None".
        missing = {key: [""] for key in _TEXT}
        kinds = dict.fromkeys(_TEXT, object)
        frame = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=missing, low_memory=False)
        # Not by the reader, which takes categories that look like numbers for numbers: "007" would be 7.
        return frame.astype({name: "category" for name in categories if name in frame})
    except FileNotFoundError:
        raise InputError(f"{path} is not there; set the CSV's setting, or make the data with data.prepare") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} can't be read as a CSV: {' '.join(str(error).split())}") from None


def relative_paths(column: pd.Series, table: Path, path_prefix: str) -> np.ndarray:
    """Paths under the root with '/' between their parts, as Python strings; ``path_prefix`` OLD=NEW maps foreign ones.

    Those of a pack are so already. Raises InputError where a path leaves the root.
    """
    values = column.to_numpy(object)
    if table.suffix == SUFFIX or (not path_prefix and not _any_odd(values)):
        return values
    paths = column.astype(object).str.replace("\\", "/", regex=False)
    if path_prefix:
        old, equals, new = path_prefix.partition("=")
        if not (old and equals):
            raise InputError(f"path_prefix must be OLD=NEW, not {path_prefix!r}")
        old, new = old.rstrip("/") + "/", new.strip("/") + "/" if new.strip("/") else ""
        paths = paths.where(~paths.str.startswith(old), new + paths.str.slice(len(old)))
    outside = paths.str.startswith("/") | paths.str.match(r"^[A-Za-z]:") | paths.str.contains(r"(?:^|/)\.\.(?:/|$)")
    if outside.any():
        row = column.index[outside][0]
        raise InputError(
            f"{table}, line {row + 2}: {column[row]} leaves the data folder ({int(outside.sum())} such rows); "
            "paths are relative to data_root, or map them with path_prefix OLD=NEW"
        )
    unclean = paths.str.contains(r"(?:^|/)\.?/|/$", regex=True)
    if unclean.any():
        paths = paths.where(~unclean, paths.map(lambda p: str(PurePosixPath(p))))
    return paths.to_numpy(object)


def image_paths(column: pd.Series, table: Path, path_prefix: str) -> ImagePaths:
    """The column ``path`` as arrays, relative to the root; raises InputError as ``relative_paths`` does."""
    if table.suffix == SUFFIX:
        # To number millions of strings again takes seconds.
        pack = Pack(table)
        return ImagePaths(pack.paths, pack.arrays["column.path"].astype(np.int64))
    return ImagePaths.of(relative_paths(column, table, path_prefix))


def _any_odd(paths: np.ndarray) -> bool:
    # One search through all of them is a hundred times quicker than one a row.
    text = "\n".join(["", *paths, ""])
    return any(odd in text for odd in _ODD)


def missing_files(root: Path, paths: Iterable[str]) -> list[str]:
    """Paths with no file under ``root``. Folders are listed once each, which is far quicker than a look per file."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        wanted[folder].add(name)
    missing = []
    for folder, names in wanted.items():
        try:
            lacking = names.difference(os.listdir(root / folder))
        except OSError:
            lacking = names
        missing += [f"{folder}/{name}".lstrip("/") for name in lacking]
    return sorted(missing)
