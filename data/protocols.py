"""Published lists of pairs as pair CSVs: ``python -m data.protocols pairs.txt --root DIR --out pairs.csv``.

Reads LFW's ``pairs.txt`` (a head line of counts; then ``name n m`` for a same pair and ``name n name m`` for a
different one), lists of two paths a line, both also with a last column 1 (same) or 0, and the same beside a file of
labels, one line ``name, number, mask type`` a picture, as MFR2 has it.
DIR is a folder made by data.prepare, or any folder with one sub-folder per person. Faces that DIR lacks are counted,
and their pairs left out. If a face exists both plain and with a simulated mask, its pair is in the CSV once for
each condition: plain–plain, plain–masked, masked–masked. LFW's ten sets become the column fold.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from data.prepare.journal import sides_of
from data.sources.pair_lists import find_faces, list_folds, pair_list, read_mask_labels, read_pairs_file
from data.sources.source_file import SourcePair
from data.tables.rows import write_table
from runtime.errors import InputError, one_line_errors
from runtime.files import require_writable

# ==== the command ====


@dataclass(frozen=True)
class ProtocolSettings:
    """Make a pair CSV of a published list of pairs."""

    pairs: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PAIRS.txt")]
    """List in LFW's format."""
    root: Path
    """Folder of the faces: made by data.prepare, or with one sub-folder per person."""
    out: Path
    """Pair CSV to write; its paths are relative to root."""
    labels: Path | None = None
    """File of lines "name, number, mask type", where the faces are not from data.prepare."""


def write_protocol(settings: ProtocolSettings) -> tuple[int, int, int]:
    """Write the CSV; returns how many pairs the list has, how many of them lack a face, and the CSV's rows.

    Raises InputError: unreadable files, no such folder, not one pair with both faces, or a CSV that can't be written.
    """
    if not settings.root.is_dir():
        raise InputError(f"the folder {settings.root} is not there; set root to the folder of the faces")
    require_writable(settings.out)
    pairs = read_pairs_file(settings.pairs)
    labels = read_mask_labels(settings.labels) if settings.labels else {}
    people = (name.rpartition("/")[0] for pair in pairs for name in (pair.name, pair.pair_name))
    sides = sides_of(settings.root)
    faces = {
        name: [face._replace(side=sides.get(face.path, 0.0)) for face in found]
        for name, found in find_faces(settings.root, people, labels).items()
    }
    table, lost = pair_list(pairs, faces, _own_folds(settings.pairs, pairs))
    if table.empty:
        raise InputError(f"{settings.root} has no face of {settings.pairs}, such as {pairs[0].name}")
    targets = {f"{side}target": [Path(path).parent.name for path in table[f"{side}path"]] for side in ("", "pair_")}
    named = pd.DataFrame(targets)
    # Where the list says otherwise, its pictures' folders are no people.
    if ((named["target"] == named["pair_target"]) == (table["same"] == 1)).all():
        table = table.assign(**targets)
    write_table(table, settings.out)
    return len(pairs), lost, len(table)


def _own_folds(path: Path, pairs: list[SourcePair]) -> np.ndarray | None:
    """Those of a whole list; of a part of one its head line says nothing."""
    try:
        return list_folds(path, pairs)
    except InputError as error:
        print(f"the folds of the list are left out: {error}")
        return None


def main() -> None:
    """The command."""
    settings = tyro.cli(ProtocolSettings, prog="python -m data.protocols", description=__doc__)
    with one_line_errors():
        pairs, lost, rows = write_protocol(settings)
        print(f"{pairs} pairs, {lost} of them left out: a face is missing; {rows} rows in {settings.out}")


if __name__ == "__main__":
    main()
