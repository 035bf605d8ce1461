"""Published lists of pairs (of LFW, CALFW and CPLFW) and of masks (MFR2's labels), and the faces that they name."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from data.sources.file_names import as_on_disk
from data.sources.outcome import FURTHER_FACE
from data.sources.read_image import IMAGE_SUFFIXES, is_picture
from data.sources.source_file import Source, SourcePair
from data.tables.pair_csv import FOLD_COLUMN, FOLDS, SIDE_COLUMN
from runtime.errors import InputError
from runtime.text_lines import text_lines

NO_MASK_LABEL = "no-mask"

_COLUMNS = ["path", "pair_path", "same", "masked", "pair_masked", "mask_kind", "pair_mask_kind"]

_SIDES = [SIDE_COLUMN, f"pair_{SIDE_COLUMN}"]

_NUMBER = re.compile(r"(\d+)$")
# A mask's name ends with a number, too; and after a picture's number _0 counts the faces in it.
_MASKS_NUMBER = re.compile(r"(?:k?n95|ffp[1-3])$", re.IGNORECASE)
_FIRST_FACE = re.compile(r"(\d{3,})_0$")


class Face(NamedTuple):
    """A face on disk: its path, whether it wears a mask, and which ("" where it wears none or nobody knows); and its
    side in the photograph in pixels, 0 where nobody knows."""

    path: str
    masked: bool
    mask_kind: str = ""
    side: float = 0.0


def pair_list(
    pairs: Iterable[SourcePair], faces: Mapping[str, Sequence[Face]], folds: np.ndarray | None = None
) -> tuple[pd.DataFrame, int]:
    """Pair rows (path, pair_path, same, masked, pair_masked, mask_kind, pair_mask_kind and, where it is known of any
    face, face_side and pair_face_side), and how many pairs lack a face.

    ``faces`` holds, by the names that the pairs use, each picture's faces: plain, masked, or both. ``folds`` int (P,),
    0 … 9, become a column of 1 … 10.
    """
    rows, numbers, lost = [], [], 0
    for number, pair in enumerate(pairs):
        found = [(a, b) for a in faces.get(pair.name, ()) for b in faces.get(pair.pair_name, ())]
        lost += not found
        conditions = {(a.masked, b.masked) for a, b in found}
        for a, b in found:
            # Of a plain and a masked face one order is enough where both pictures are there both ways.
            if a.masked and not b.masked and (False, True) in conditions:
                continue
            numbers.append(number)
            rows.append(
                (a.path, b.path, int(pair.same), int(a.masked), int(b.masked), a.mask_kind, b.mask_kind, a.side, b.side)
            )
    table = pd.DataFrame(rows, columns=[*_COLUMNS, *_SIDES])
    if folds is not None:
        table[FOLD_COLUMN] = folds[numbers] + 1
    known = (table[_SIDES] > 0).any(axis=None)
    return table.replace(dict.fromkeys(_SIDES, 0.0), np.nan) if known else table.drop(columns=_SIDES), lost


# ==== the kinds of file ====


def list_folds(path: Path, pairs: Sequence[SourcePair]) -> np.ndarray | None:
    """Fold 0 … 9 of each pair, int64 (P,), by a head line ``10 300``: ten sets of 300 same and 300 different pairs.

    None without such a line. Raises InputError if the list is not what that line says.
    """
    head = text_lines(path)[0][1].split()
    if len(head) != 2 or not all(number.isdecimal() for number in head):
        return None
    sets, each = map(int, head)
    if sets != FOLDS or len(pairs) != 2 * sets * each:
        raise InputError(
            f"{path} says {sets} sets of {each} same and {each} different pairs, but holds {len(pairs):,} pairs; "
            f"{FOLDS} whole sets are needed, get the list again"
        )
    folds = np.repeat(np.arange(FOLDS), 2 * each)
    in_fold = np.bincount(folds, weights=[pair.same for pair in pairs])
    if (in_fold != each).any():
        wrong = int(np.flatnonzero(in_fold != each)[0])
        raise InputError(
            f"{path}: set {wrong + 1} has {int(in_fold[wrong])} same pairs, not {each}; get the list again"
        )
    return folds


def read_pairs_file(path: Path) -> list[SourcePair]:
    """The pairs of a list, one a line, its columns apart by tabs, commas or spaces:

    - ``name n m`` (the same person) and ``name n name m``, as in LFW's pairs.txt; a picture is called ``name/n``;
    - two paths of pictures; each is called ``folder/file.``, without ending.

    A last column may say 1 (same) or 0; of paths without one, those in folders of one name are the same person. A head
    line is passed over. Raises InputError with the line that is wrong.
    """
    rows = [(number, _fields(line)) for number, line in text_lines(path)]
    if rows and _is_head(rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise InputError(f"{path} holds no pair")
    labelled = _have_labels([fields for _, fields in rows])
    return [_pair(fields, labelled, f"{path}, line {number}") for number, fields in rows]


def _fields(line: str) -> list[str]:
    separator = next((mark for mark in "\t," if mark in line), None)
    return [field.strip() for field in line.split(separator) if field.strip()]


def _is_head(fields: list[str]) -> bool:
    """Counts of pairs, or the columns' names."""
    if len(fields) <= 2 and all(field.isdecimal() for field in fields):
        return True
    return not any(field.isdecimal() or _is_path(field) for field in fields) and len(fields) > 1


def _is_path(field: str) -> bool:
    return Path(field).suffix.lower() in IMAGE_SUFFIXES


def _have_labels(rows: list[list[str]]) -> bool:
    """Whether the last column says same or not: with it, ``name n m 1`` looks like two people, of whom one is m."""
    if any(fields[-1] not in ("0", "1") for fields in rows):
        return False
    return any(len(fields) == 5 or _is_path(fields[0]) for fields in rows) or all(
        len(fields) == 4 and fields[2].isdecimal() and fields[3] == "1" for fields in rows
    )


def _pair(fields: list[str], labelled: bool, where: str) -> SourcePair:
    said = {"1": True, "0": False}.get(fields[-1]) if labelled else None
    columns = fields[:-1] if labelled else fields
    if len(columns) == 2 and all(map(_is_path, columns)):
        one, other = (PurePosixPath(column.replace("\\", "/")) for column in columns)
        same = one.parent.name == other.parent.name if said is None else said
        return SourcePair(f"{one.parent.name}/{one.stem}.", f"{other.parent.name}/{other.stem}.", same)
    if len(columns) == 3 and columns[1].isdecimal() and columns[2].isdecimal():
        columns = [*columns[:2], columns[0], columns[2]]
    if len(columns) != 4 or not (columns[1].isdecimal() and columns[3].isdecimal()):
        raise InputError(
            f"{where}: {' '.join(fields)[:60]!r} is neither 'name n m', 'name n name m', nor two paths of pictures"
        )
    same = columns[0] == columns[2]
    if said not in (None, same):
        raise InputError(f"{where}: the last column says {fields[-1]}, but the names are {columns[0]} and {columns[2]}")
    return SourcePair(_key(*columns[:2]), _key(*columns[2:]), same)


class FlaggedPair(NamedTuple):
    """Two pictures by their names, and a flag: 0 of different people, otherwise the fold (from 1) of a same pair."""

    name: str
    pair_name: str
    flag: int


def read_flagged_pairs(path: Path) -> list[FlaggedPair]:
    """The pairs of CALFW or CPLFW, two lines ``file flag`` each. Raises InputError: unreadable, empty, an odd number of
    lines, two flags in a pair."""
    rows = [_file_and_flag(line, f"{path}, line {number}") for number, line in text_lines(path)]
    if not rows:
        raise InputError(f"{path} holds no pair")
    if len(rows) % 2:
        raise InputError(f"{path} has {len(rows)} pictures, an odd number; it needs two per pair, get the list again")
    pairs = []
    for number, ((name, flag), (pair_name, other)) in enumerate(zip(rows[::2], rows[1::2], strict=True), 1):
        if flag != other:
            raise InputError(f"{path}, pair {number}: its two lines have the flags {[flag, other]}")
        pairs.append(FlaggedPair(name, pair_name, flag))
    return pairs


def _file_and_flag(line: str, where: str) -> tuple[str, int]:
    fields = line.rsplit(maxsplit=1)
    if len(fields) != 2 or not fields[1].isdecimal():
        raise InputError(f"{where}: {line[:60]!r} is not 'file flag'")
    return fields[0].strip(), int(fields[1])


def read_mask_labels(path: Path) -> dict[str, str]:
    """``person/number`` → mask type of each line ``name, number, mask type``. Raises InputError."""
    labels = {}
    for number, line in text_lines(path):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3 or not fields[1].isdecimal():
            raise InputError(f"{path}, line {number}: {line[:60]!r} is not 'name, number, mask type'")
        labels[_key(fields[0], fields[1])] = fields[2]
    if not labels:
        raise InputError(f"{path} holds no label")
    return labels


def apply_mask_labels(source: Source, path: Path) -> Source:
    """The source with its pictures flagged masked by a label file; prints how many pictures have no label.

    Raises InputError if no picture has one.
    """
    labels = read_mask_labels(path)
    found = [labels.get(_key_of(file.person, Path(file.name).stem)) for file in source.pictures]
    lacking = sum(label is None for label in found)
    if lacking == len(found):
        raise InputError(f"{path} names no picture of the source; its lines are 'name, number, mask type'")
    print(f"{path}: {len(found) - lacking} pictures have a label; {lacking} have none and count as plain")
    pictures = [
        replace(file, masked=file.masked or label not in (None, NO_MASK_LABEL))
        for file, label in zip(source.pictures, found, strict=True)
    ]
    return replace(source, pictures=pictures)


def _key(person: str, number: str) -> str:
    return f"{person}/{int(number)}"


def _key_of(person: str, stem: str) -> str | None:
    """The key of a picture by the number that its name ends with, or that stands before words or a mask at its end."""
    match = _FIRST_FACE.search(stem) or (None if _MASKS_NUMBER.search(stem) else _NUMBER.search(stem))
    if match:
        return _key(person, match[1])
    numbers = [part for part in re.split(r"[\W_]+", stem) if part.isdecimal()]
    return _key(person, numbers[-1]) if numbers else None


# ==== faces on disk ====


def find_faces(root: Path, people: Iterable[str], labels: Mapping[str, str]) -> dict[str, list[Face]]:
    """Each person's faces under ``root`` by ``person/number`` and by ``person/file.``, the plain one first.

    What lies in masked/ or has a label other than no-mask wears a mask. Of several faces that data.prepare found in a
    picture only the first counts: the others may be anybody's.
    """
    prepared = [kind for kind in ("plain", "masked") if (root / kind).is_dir()]
    faces: dict[str, list[Face]] = defaultdict(list)
    for person in dict.fromkeys(people):
        inside = dict(_inside(root, person, prepared or [""]))
        names = {file for _, files in inside.values() for file in files}
        for kind, (folder, files) in inside.items():
            for file in files:
                further = FURTHER_FACE.fullmatch(file) if prepared else None
                if not is_picture(file) or (further and f"{further[1]}.jpg" in names):
                    continue
                key = _key_of(person, Path(file).stem)
                label = labels.get(key, NO_MASK_LABEL)
                worn = "" if label == NO_MASK_LABEL else label
                face = Face((folder / file).as_posix(), kind == "masked" or bool(worn), worn)
                stem = unicodedata.normalize("NFC", Path(file).stem)
                for name in filter(None, (key, f"{person}/{stem}.")):
                    faces[name].append(face)
    return faces


def _inside(root: Path, person: str, kinds: Iterable[str]) -> Iterator[tuple[str, tuple[Path, list[str]]]]:
    """Of each kind that has a folder of the person: that folder, relative to ``root``, and the names in it."""
    for kind in kinds:
        found = as_on_disk(root, (Path(kind) / person).as_posix())
        if found is not None and (root / found).is_dir():
            yield kind, (Path(found), sorted(os.listdir(root / found)))
