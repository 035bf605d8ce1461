"""The lists of IJB-B and IJB-C as InsightFace packs them: pictures, templates, media, landmarks and pairs (1:1).

Three text files, their columns apart by spaces, without a head line:

- ``ijbc_face_tid_mid.txt``: picture, template, medium;
- ``ijbc_name_5pts_score.txt``: picture, x and y of five landmarks, the detector's score; the same pictures in order;
- ``ijbc_template_pair_label.txt``: template, template, 1 for the same person or 0.

They lie in ``meta`` or beside the folder ``loose_crop`` that holds the pictures, photographs cut loosely around a face.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from runtime.errors import InputError, in_one_line

_MEDIA, _LANDMARKS, _PAIRS = "_face_tid_mid.txt", "_name_5pts_score.txt", "_template_pair_label.txt"
_PICTURES = "loose_crop"
_NUMBERS = {"whole number": re.compile(r"-?\d{1,18}"), "number": re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")}


@dataclass(frozen=True)
class IjbFiles:
    """Where a set lies: its ``name`` (ijbb, ijbc), its three lists, and the folder of its ``pictures``."""

    name: str
    media: Path
    landmarks: Path
    pairs: Path
    pictures: Path


@dataclass(frozen=True)
class IjbLists:
    """N pictures, T templates, P pairs.

    ``paths`` str (N,), relative to the folder of the pictures; ``landmarks`` float32 (N, 5, 2) in their pixels: eyes,
    nose, corners of the mouth, left to right; ``scores`` float32 (N,) of the detector; ``template`` int64 (N,) in
    0 … T−1 and ``media`` int64 (N,). ``left``, ``right`` int32 (P,) and ``same`` bool (P,) are the pairs of templates;
    ``unknown_pairs``: how many more name a template without pictures.
    """

    paths: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray
    template: np.ndarray
    media: np.ndarray
    templates: int
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    unknown_pairs: int


def find_ijb(folder: Path) -> list[IjbFiles]:
    """The sets whose lists lie in ``folder`` or its ``meta``. Raises InputError if one lacks a list or its pictures."""
    found = []
    for place in (folder, folder / "meta"):
        for media in sorted(place.glob(f"*{_MEDIA}")) if place.is_dir() else ():
            name = media.name.removesuffix(_MEDIA)
            lists = [place / f"{name}{ending}" for ending in (_LANDMARKS, _PAIRS)]
            lacking = next((path for path in lists if not path.is_file()), None)
            if lacking:
                raise InputError(f"{media} is there, but not {lacking.name} beside it; copy the set's lists again")
            if not (folder / _PICTURES).is_dir():
                raise InputError(
                    f"{media} is there, but no folder {folder / _PICTURES} with its pictures; put it there"
                )
            found.append(IjbFiles(name, media, *lists, folder / _PICTURES))
    return found


def read_ijb(files: IjbFiles) -> IjbLists:
    """The three lists, checked. Raises InputError with the file and the line that is wrong."""
    media = _read(files.media, {"picture": str, "template": "int64", "medium": "int64"})
    numbers = {f"landmark {i}": "float32" for i in range(10)} | {"score": "float32"}
    faces = _read(files.landmarks, {"picture": str, **numbers})
    _refuse_other_pictures(media["picture"], faces["picture"], files)
    if (faces["score"] < 0).any():
        raise InputError(f"{files.landmarks}, line {_first(faces['score'] < 0)}: the detector's score is negative")
    pairs = _read(files.pairs, {"template": "int64", "other": "int64", "label": "int64"})
    wrong = ~pairs["label"].isin((0, 1))
    if wrong.any():
        raise InputError(f"{files.pairs}, line {_first(wrong)}: the last column must be 1 (same person) or 0")
    known, template = np.unique(media["template"], return_inverse=True)
    (left, there), (right, there_too) = (_places(pairs[side].to_numpy(), known) for side in ("template", "other"))
    kept = there & there_too
    if not kept.any():
        raise InputError(f"{files.pairs} names no template of {files.media}; they belong to two sets")
    return IjbLists(
        paths=media["picture"].to_numpy(object),
        landmarks=faces.iloc[:, 1:-1].to_numpy(np.float32).reshape(-1, 5, 2),
        scores=faces["score"].to_numpy(),
        template=template,
        media=media["medium"].to_numpy(),
        templates=len(known),
        left=left[kept],
        right=right[kept],
        same=pairs["label"].to_numpy()[kept] == 1,
        unknown_pairs=int((~kept).sum()),
    )


def _refuse_other_pictures(media: pd.Series, faces: pd.Series, files: IjbFiles) -> None:
    """Raise InputError if the two lists of pictures differ, or name what can't lie in the folder of the pictures."""
    if len(media) != len(faces):
        raise InputError(
            f"{files.media} has {len(media)} pictures, {files.landmarks.name} {len(faces)}; copy both again"
        )
    other = media != faces
    if other.any():
        line = _first(other)
        raise InputError(
            f"line {line} of {files.media} names {in_one_line(media[line - 1], 60)}, that of {files.landmarks.name} "
            f"{in_one_line(faces[line - 1], 60)}; both must list the same pictures in the same order"
        )
    outside = media.str.contains(r"[/\\\0]|^\.\.?$", regex=True)
    if outside.any():
        line = _first(outside)
        raise InputError(
            f"{files.media}, line {line}: {in_one_line(media[line - 1], 60)} is not the name of a file in {_PICTURES}"
        )


def _first(wrong: pd.Series) -> int:
    """Number of the first line that is wrong."""
    return int(np.argmax(wrong.to_numpy())) + 1


def _places(templates: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of each template among the ``known`` ones, int32, and whether it is one of them."""
    places = np.minimum(np.searchsorted(known, templates), len(known) - 1).astype(np.int32)
    return places, known[places] == templates


# ==== text with millions of lines ====


def _read(path: Path, columns: Mapping[str, type | str]) -> pd.DataFrame:
    """The columns of a file. Raises InputError: unreadable, empty, or a line with other columns."""
    kinds = dict(enumerate(columns.values()))
    options = {"sep": " ", "header": None, "quoting": csv.QUOTE_NONE, "keep_default_na": False, "dtype": kinds}
    try:
        size = path.stat().st_size
        with path.open("rb") as file, tqdm.wrapattr(file, "read", size, desc=path.name, leave=False) as watched:
            table = pd.read_csv(watched, **options)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror or error})") from None
    except (ValueError, OverflowError):  # pandas' own errors, and those of the text's encoding, are ValueErrors, too
        raise _damaged(path, columns) from None
    if table.shape[1] != len(columns) or not np.isfinite(table.select_dtypes("floating").to_numpy()).all():
        raise _damaged(path, columns)
    return table.set_axis(list(columns), axis=1)


def _damaged(path: Path, columns: Mapping[str, type | str]) -> InputError:
    """What to say of a file that pandas does not take."""
    if not path.stat().st_size:
        return InputError(f"{path} is empty; copy it again")
    kinds = ["text" if kind is str else "whole number" if kind == "int64" else "number" for kind in columns.values()]
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\r\n").split(" ")
            if line.strip() and (len(fields) != len(kinds) or not all(map(_is, fields, kinds))):
                return InputError(
                    f"{path}, line {number}: {in_one_line(line.strip(), 80)!r} is not {', '.join(columns)} "
                    "separated by spaces; copy the file again"
                )
    return InputError(f"{path} can't be read as a list of {', '.join(columns)}; copy it again")


def _is(field: str, kind: str) -> bool:
    return "�" not in field and field != "" if kind == "text" else bool(_NUMBERS[kind].fullmatch(field))
