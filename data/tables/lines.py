"""On which lines of a CSV its rows stand, as an editor numbers them.

pandas passes over blank lines, and a quoted field may hold line feeds, so that a row's number says too little. A pack
has no lines: its rows are numbered as those of a CSV without either.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from data.tables.pack_file import SUFFIX


def line_of(table: Path, row: int) -> int:
    """The line on which a row begins; row 0 is the first below the header."""
    usual = int(row) + 2
    return usual if table.suffix == SUFFIX else next(islice(_lines(table), usual - 1, None), usual)


def lines_of(table: Path, rows: int) -> np.ndarray:
    """The lines on which all the table's ``rows`` begin: int64 (N,)."""
    usual = np.arange(rows) + 2
    if table.suffix == SUFFIX or _line_feeds(table) in (rows, rows + 1):
        return usual
    found = list(islice(_lines(table), 1, None))
    return np.array(found) if len(found) == rows else usual


def _lines(table: Path) -> Iterator[int]:
    """The line on which each row begins, the header's first; none from a field on that is too long for this reader."""
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        reader, ended = csv.reader(file), 0
        try:
            for fields in reader:
                if len(fields) > 1 or "".join(fields).strip(" \t"):
                    yield ended + 1
                ended = reader.line_num
        except csv.Error:
            return


def _line_feeds(table: Path) -> int:
    with table.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
