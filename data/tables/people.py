"""The images and the people that a CSV or pack names, each once."""

from pathlib import Path, PurePosixPath

import pandas as pd

from data.tables.paths import relative_paths


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
    folders = images["path"].map(lambda path: PurePosixPath(path).parent.name)
    targets = set(images["target"]) - {""}
    one_each = bool((folders != "").all()) and images.groupby(folders)["target"].nunique().max() == 1
    if not one_each:
        return targets
    return set(folders) | {target for target in targets if not target.isdigit()}
