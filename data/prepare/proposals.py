"""Corrections of a set of faces, as ``eval.audit`` proposes them and ``data.prepare --proposals`` applies them.

A CSV with a row for each: ``action,path,target,new_target`` (further columns explain it to the reader, who deletes
the rows that are wrong). ``merge``: all faces of ``target`` become ``new_target``'s. ``move``: the face ``path``
becomes ``new_target``'s. ``remove``: the face ``path`` goes. A path under plain/ or masked/ means both faces of that
photograph. Files stay where they are: only tables change.
"""

from pathlib import Path

import pandas as pd

from data.tables.lines import lines_of
from runtime.errors import InputError

COLUMNS = ["action", "path", "target", "new_target"]
_NEEDED = {"merge": ["target", "new_target"], "move": ["path", "new_target"], "remove": ["path"]}


def read_proposals(path: Path) -> pd.DataFrame:
    """The rows of a file of proposals, all columns text.

    Raises InputError: no such file, a missing column, an unknown action, or an empty field that the action needs.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} can't be read as a CSV of proposals: {' '.join(str(error).split())}") from None
    lacking = [column for column in COLUMNS if column not in frame]
    if lacking:
        raise InputError(f"{path} lacks the column {', '.join(lacking)}; proposals are made by eval.audit")
    for line, row in zip(lines_of(path, len(frame)), frame.to_dict("records"), strict=True):
        if row["action"] not in _NEEDED:
            raise InputError(f"{path}, line {line}: action is {row['action']!r}, but must be merge, move or remove")
        empty = [column for column in _NEEDED[row["action"]] if not row[column]]
        if empty:
            raise InputError(f"{path}, line {line}: {row['action']} needs {' and '.join(empty)}")
    return frame


def apply_proposals(faces: pd.DataFrame, proposals: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """``faces`` (path, target, …) with the proposals applied, and how many of these met a face.

    Faces are removed and moved first; then people are merged, along chains too (a into b, b into c).
    """
    faces = faces.copy()
    photo = faces["path"].map(photo_of)
    used = 0
    for row in proposals.to_dict("records"):
        if row["action"] == "merge":
            continue
        here = photo == photo_of(row["path"])
        used += bool(here.any())
        if row["action"] == "move":
            faces.loc[here, "target"] = row["new_target"]
        else:
            faces, photo = faces[~here], photo[~here]
    merges = proposals[proposals["action"] == "merge"]
    into = dict(zip(merges["target"], merges["new_target"], strict=True))
    used += sum(name in set(faces["target"]) for name in into)
    faces["target"] = faces["target"].map(lambda name: _last(name, into))
    return faces.reset_index(drop=True), used


def photo_of(path: str) -> str:
    """The part that plain/X and masked/X share."""
    kind, slash, rest = path.partition("/")
    return rest if slash and kind in ("plain", "masked") else path


def _last(name: str, into: dict[str, str]) -> str:
    seen = {name}
    while name in into and into[name] not in seen:
        name = into[name]
        seen.add(name)
    return name
