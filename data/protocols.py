"""Published lists of pairs as pair CSVs: ``python -m data.protocols pairs.txt --root DIR --out pairs.csv``.

Read are LFW's ``pairs.txt`` (a head line of counts; then ``name n m`` for a same pair and ``name n name m`` for a
different one) and the same beside a file of labels, one line ``name, number, mask type`` a picture, as MFR2 has it.
DIR is a folder made by data.prepare, or any folder with one sub-folder a person. Faces that DIR lacks are counted, and
their pairs left out. Where a face lies both plain and with a simulated mask, its pair stands in the CSV once for each
condition: plain–plain, plain–masked, masked–masked.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import tyro

from data.read_image import IMAGE_SUFFIXES
from data.source_files import Source, SourcePair
from data.tables import write_table
from runtime.errors import InputError, one_line_errors

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

    Raises InputError where no picture has one.
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


# ==== the command ====


@dataclass(frozen=True)
class ProtocolSettings:
    """Make a pair CSV of a published list of pairs."""

    pairs: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PAIRS.txt")]
    """List in LFW's format."""
    root: Path
    """Folder of the faces: made by data.prepare, or with one sub-folder a person."""
    out: Path
    """Pair CSV to write; its paths are relative to root."""
    labels: Path | None = None
    """File of lines "name, number, mask type", where the faces are not from data.prepare."""


def write_protocol(settings: ProtocolSettings) -> tuple[int, int, int]:
    """Write the CSV; returns how many pairs the list has, how many of them lack a face, and the CSV's rows.

    Raises InputError: unreadable files, no such folder, not one pair with both faces.
    """
    if not settings.root.is_dir():
        raise InputError(f"the folder {settings.root} is not there; set root to the folder of the faces")
    pairs = read_pairs_file(settings.pairs)
    labels = read_mask_labels(settings.labels) if settings.labels else {}
    people = (name.rpartition("/")[0] for pair in pairs for name in (pair.name, pair.pair_name))
    table, lost = pair_list(pairs, find_faces(settings.root, people, labels))
    if table.empty:
        raise InputError(f"{settings.root} has no face of {settings.pairs}, such as {pairs[0].name}")
    for side in ("", "pair_"):
        table[f"{side}target"] = [Path(path).parent.name for path in table[f"{side}path"]]
    write_table(table, settings.out)
    return len(pairs), lost, len(table)


def main() -> None:
    """The command."""
    settings = tyro.cli(ProtocolSettings, prog="python -m data.protocols", description=__doc__)
    with one_line_errors():
        pairs, lost, rows = write_protocol(settings)
        print(f"{pairs} pairs, {lost} of them left out for want of a face; {rows} rows in {settings.out}")


if __name__ == "__main__":
    main()
