"""What all benchmarks share: options, a table of rows, the bars it must meet, a JSON file, an exit code."""

import math
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro

from runtime.errors import one_line_errors
from runtime.files import require_writable, write_json
from runtime.text_tables import aligned_table

Cell = str | int | float | None


@dataclass(frozen=True)
class Options:
    """Options that all benchmarks share; for ``tyro.cli``."""

    quick: bool = False
    """A short run: fewer sizes and repeats, the same table."""
    check: bool = False
    """Exit with code 1 and name what misses its stated bar."""
    json: Path | None = None
    """Also write rows and bars to this file."""


def run_command(main: Callable[[Options], int], options: type[Options], description: str) -> None:
    """Call ``main`` with the options of the command line, and exit with its code.

    A JSON file that can't be written is an error before the work, which may take an hour.
    """
    with one_line_errors():
        chosen = tyro.cli(options, description=description)
        if chosen.json:
            require_writable(chosen.json)
        sys.exit(main(chosen))


@dataclass(frozen=True)
class Bar:
    """A limit that one figure must hold: at most, or at least."""

    name: str
    value: float
    limit: float
    at_least: bool

    @property
    def holds(self) -> bool:
        """False for nan, too."""
        return bool(self.value >= self.limit if self.at_least else self.value <= self.limit)

    def __str__(self) -> str:
        relation = "at least" if self.at_least else "at most"
        return f"{'ok    ' if self.holds else 'MISSED'} {self.name}: {self.value:.4g}, {relation} {self.limit:.4g}"


@dataclass
class Report:
    """Rows of equal columns and the bars of one benchmark."""

    name: str
    rows: list[dict[str, Cell]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, **cells: Cell) -> None:
        """One row; None shows as a dash."""
        self.rows.append(cells)

    def note(self, line: str) -> None:
        """A line between table and bars: how a figure was measured, what was left out and why."""
        self.notes.append(line)

    def at_least(self, name: str, value: float, limit: float) -> None:
        """A bar that the value must reach."""
        self.bars.append(Bar(name, value, limit, at_least=True))

    def at_most(self, name: str, value: float, limit: float) -> None:
        """A bar that the value must not pass."""
        self.bars.append(Bar(name, value, limit, at_least=False))

    def finish(self, options: Options) -> int:
        """Print the table, write the JSON file, and return the exit code: 1 if ``check`` and a bar is
        missed."""
        print("\n".join([text_table(self.rows), "", *self.notes, f"({machine()})", *map(str, self.bars)]))
        self.write(options)
        missed = [bar for bar in self.bars if not bar.holds]
        if options.check and missed:
            print(f"{self.name}: {len(missed)} of {len(self.bars)} bars missed", file=sys.stderr)
        return int(options.check and bool(missed))

    def write(self, options: Options) -> None:
        """The JSON file, where one is asked for; a long benchmark writes it after each row."""
        if options.json:
            write_json(options.json, self.as_json(options), indent=1)

    def as_json(self, options: Options) -> dict:
        """Plain values; what is not finite becomes null."""
        bars = [vars(bar) | {"value": _finite(bar.value), "holds": bar.holds} for bar in self.bars]
        rows = [{name: _finite(cell) for name, cell in row.items()} for row in self.rows]
        head = {"benchmark": self.name, "quick": options.quick, "machine": machine()}
        return head | {"notes": self.notes, "rows": rows, "bars": bars}


def machine() -> str:
    """Processor, cores, threads and versions, for the line beside the numbers."""
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def text_table(rows: list[dict[str, Cell]]) -> str:
    """Rows as aligned text, text to the left and numbers to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    left = [i for i, name in enumerate(names) if any(isinstance(row.get(name), str) for row in rows)]
    return aligned_table(names, [[_shown(row.get(name)) for name in names] for row in rows], left)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
