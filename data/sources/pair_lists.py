"""Published lists of pairs (LFW's pairs.txt) and of masks (MFR2's labels), and the faces that they name."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from data.sources.read_image import IMAGE_SUFFIXES
from data.sources.source_file import Source, SourcePair
from runtime.errors import InputError

NO_MASK_LABEL = "no-mask"

_COLUMNS = ["path", "pair_path", "same", "masked", "pair_masked", "mask_kind", "pair_mask_kind"]

_NUMBER = re.compile(r"(\d+)$")


class Face(NamedTuple):
    """A face on disk: its path, whether it wears a mask, and which ("" where it wears none or nobody knows)."""

    path: str
    masked: bool
    mask_kind: str = ""


def pair_list(pairs: Iterable[SourcePair], faces: Mapping[str, Sequence[Face]]) -> tuple[pd.DataFrame, int]:
    """Pair rows (path, pair_path, same, masked, pair_masked, mask_kind, pair_mask_kind), and how many pairs lack a
    face.

    ``faces`` holds, by the names that the pairs use, each picture's faces: plain, masked, or both.
    """
    rows, lost = [], 0
    for pair in pairs:
        found = [(a, b) for a in faces.get(pair.name, ()) for b in faces.get(pair.pair_name, ())]
        lost += not found
        conditions = {(a.masked, b.masked) for a, b in found}
        for a, b in found:
            # Of a plain and a masked face one order is enough where both pictures are there both ways.
            if a.masked and not b.masked and (False, True) in conditions:
                continue
            rows.append((a.path, b.path, int(pair.same), int(a.masked), int(b.masked), a.mask_kind, b.mask_kind))
    return pd.DataFrame(rows, columns=_COLUMNS), lost


# ==== the two kinds of file ====


def read_pairs_file(path: Path) -> list[SourcePair]:
    """LFW's format; a picture's name is ``person/number``. Raises InputError with the line that is wrong."""
    pairs = []
    for number, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        fields = [field.strip() for field in fields if field.strip()]
        if not pairs and len(fields) <= 2 and all(field.isdigit() for field in fields):
            continue
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            pairs.append(SourcePair(_key(fields[0], fields[1]), _key(fields[0], fields[2]), True))
        elif len(fields) == 4 and fields[1].isdigit() and fields[3].isdigit():
            pairs.append(SourcePair(_key(fields[0], fields[1]), _key(fields[2], fields[3]), fields[0] == fields[2]))
        else:
            raise InputError(f"{path}, line {number}: {line[:60]!r} is neither 'name n m' nor 'name n name m'")
    if not pairs:
        raise InputError(f"{path} holds no pair")
    return pairs


def read_mask_labels(path: Path) -> dict[str, str]:
    """``person/number`` → mask type of each line ``name, number, mask type``. Raises InputError."""
    labels = {}
    for number, line in _lines(path):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3 or not fields[1].isdigit():
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
    return Source(pictures, source.other, source.pairs)


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as text ({error})") from None
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _key(person: str, number: str) -> str:
    return f"{person}/{int(number)}"


def _key_of(person: str, stem: str) -> str | None:
    """The key of a picture by the number its name ends with."""
    match = _NUMBER.search(stem)
    return _key(person, match[1]) if match else None


# ==== faces on disk ====


def find_faces(root: Path, people: Iterable[str], labels: Mapping[str, str]) -> dict[str, list[Face]]:
    """Each person's faces under ``root`` by ``person/number``, the plain one first.

    What lies in masked/ or has a label other than no-mask wears a mask.
    """
    prepared = [kind for kind in ("plain", "masked") if (root / kind).is_dir()]
    faces: dict[str, list[Face]] = {}
    for person in dict.fromkeys(people):
        for kind in prepared or [""]:
            folder = Path(kind) / person
            if not (root / folder).is_dir():
                continue
            for file in sorted(os.listdir(root / folder)):
                key = _key_of(person, Path(file).stem)
                if key and Path(file).suffix.lower() in IMAGE_SUFFIXES:
                    label = labels.get(key, NO_MASK_LABEL)
                    worn = "" if label == NO_MASK_LABEL else label
                    path = (folder / file).as_posix()
                    faces.setdefault(key, []).append(Face(path, kind == "masked" or bool(worn), worn))
    return faces
