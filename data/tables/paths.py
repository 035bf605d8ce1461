"""The paths of a table: under the data folder and nowhere else, and whether their files are there."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from data.sources.file_names import as_on_disk
from data.tables.lines import line_of
from data.tables.pack_file import SUFFIX, Pack
from data.tables.text_array import ImagePaths
from runtime.errors import InputError

# One of these in a path, with a line feed around it, asks for a closer look.
_ODD = ("\\", "\n/", "//", "/.", "\n.", ":", "/\n")


def relative_paths(column: pd.Series, table: Path, path_prefix: str | None) -> np.ndarray:
    """Paths under the root with '/' between their parts, as Python strings; ``path_prefix`` OLD=NEW maps foreign ones.

    None: the caller has no such setting to name. Those of a pack are so already. Raises InputError if a path leaves
    the root.
    """
    values = column.to_numpy(object)
    if table.suffix == SUFFIX or (not path_prefix and not _any_odd(values)):
        return values
    paths = column.astype(object).str.replace("\\", "/", regex=False)
    if path_prefix:
        old, equals, new = path_prefix.replace("\\", "/").partition("=")
        if not (old and equals):
            raise InputError(f"path_prefix must be OLD=NEW, not {path_prefix!r}")
        old, new = old.rstrip("/") + "/", new.strip("/") + "/" if new.strip("/") else ""
        paths = paths.where(~paths.str.startswith(old), new + paths.str.slice(len(old)))
    outside = paths.str.startswith("/") | paths.str.match(r"^[A-Za-z]:") | paths.str.contains(r"(?:^|/)\.\.(?:/|$)")
    if outside.any():
        row = column.index[outside][0]
        line = line_of(table, row)
        mapped = "" if path_prefix is None else ", or map them with path_prefix OLD=NEW"
        raise InputError(
            f"{table}, line {line}: {column[row]} leaves the data folder ({int(outside.sum())} such rows); "
            f"write paths relative to that folder{mapped}"
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
    """Paths with no file under ``root``, in either Unicode form.

    Folders are listed once each, which is far quicker than a look per file.
    """
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
        paths = [f"{folder}/{name}".lstrip("/") for name in lacking]
        missing += [path for path in paths if path.isascii() or as_on_disk(root, path) is None]
    return sorted(missing)


def require_files(root: Path, paths: Iterable[str], csv: str) -> None:
    """Raise InputError with the count and the first ten of the images that a CSV names and the folders lack."""
    require_folder(root)
    missing = missing_files(root, paths)
    if missing:
        raise InputError(missing_line(missing, csv, root))


def require_folder(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"the data folder {root} is not there; give the folder the CSVs' paths start from")


def missing_line(missing: list[str], csv: str, root: Path) -> str:
    first = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
    remedy = "mend the CSV, or give the folder its paths start from"
    return f"{csv}: {len(missing)} images are not under {root}: {first}; {remedy}"
