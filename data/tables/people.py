"""The images and the people that a CSV or pack names, each once."""

from pathlib import Path, PurePosixPath

import pandas as pd

from data.tables.paths import relative_paths
from data.tables.targets import is_number


def listed_images(frame: pd.DataFrame, csv: Path, path_prefix: str) -> pd.DataFrame:
    """``path`` and ``target`` of each image, those of both sides of the pairs; the target is "" if none is given.

    ``frame``: the rows of ``csv``, as ``read_rows`` gives them. Raises InputError as ``relative_paths``.
    """
    sides = []
    for side in [s for s in ("", "pair_") if f"{s}path" in frame]:
        rows = frame.dropna(subset=[f"{side}path"])
        paths = relative_paths(rows[f"{side}path"], csv, path_prefix)
        targets = rows[f"{side}target"].fillna("").astype(str).to_numpy() if f"{side}target" in rows else ""
        sides.append(pd.DataFrame({"path": paths, "target": targets}))
    return pd.concat(sides).drop_duplicates()


def people_of(images: pd.DataFrame) -> set[str]:
    """The names of the people of ``listed_images``.

    A folder that holds one person alone has the name: a target that is a mere number may be somebody else in another
    CSV.
    """
    folders, targets = _folders(images["path"]), set(images["target"]) - {""}
    if not _one_person_each(folders, images["target"]):
        return targets
    return set(folders) | {target for target in targets if not is_number(target)}


def names_of(images: pd.DataFrame, part: str) -> pd.Series:
    """The person of each row of ``images`` (path, target), by a name that holds in other CSVs, too.

    A number is the name of its folder if every folder holds one person alone, and else "number of ``part``".
    """
    targets, folders = images["target"], _folders(images["path"])
    numbers = targets.map(is_number)
    known = folders if _one_person_each(folders, targets) else targets + f" of {part}"
    return targets.mask(numbers, known)


def part_of(csv: Path) -> str:
    """What a pair CSV is part of: X_same.csv and X_diff.csv are one list, X."""
    return csv.stem.removesuffix("_same").removesuffix("_diff")


def _folders(paths: pd.Series) -> pd.Series:
    return paths.map(lambda path: PurePosixPath(path).parent.name)


def _one_person_each(folders: pd.Series, targets: pd.Series) -> bool:
    return bool((folders != "").all()) and targets.groupby(folders).nunique().max() == 1
