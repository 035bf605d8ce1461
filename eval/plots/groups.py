"""Contact sheet of faces grouped by person: a row a group, the surest faces first, the least sure last."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from eval.plots.style import headline, house_style, new_figure, save
from eval.text import counted

_COLUMNS = 10


class SheetRow(NamedTuple):
    """A group: its ``title``, and ``faces``, each uint8 (h, w, 3) RGB, ten at most."""

    title: str
    faces: list[np.ndarray]


def plot_groups(path: Path, rows: list[SheetRow], groups: int, faces: int) -> None:
    """Write the sheet of the largest groups; ``groups`` and ``faces`` count all there are."""
    save(groups_figure(rows, groups, faces), path)


@house_style()
def groups_figure(rows: list[SheetRow], groups: int, faces: int) -> Figure:
    """Two groups beside each other where both are small, so that a sheet of pairs is not mostly empty."""
    wide = max(len(row.faces) for row in rows) > _COLUMNS // 2
    across = 1 if wide else 2
    columns = _COLUMNS // across
    lines = -(-len(rows) // across)
    figure = new_figure(11, 0.9 + 1.38 * lines)
    title = f"{counted(faces, 'face')}, {counted(groups, 'group')}"
    shown = f"the {len(rows)} largest groups" if len(rows) < groups else "every group"
    headline(figure, title, f"{shown}; each sorted by distance to the group's mean, nearest first")
    grid = figure.subplots(lines, _COLUMNS, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for number, row in enumerate(rows):
        line, place = divmod(number, across)
        cells = grid[line, place * columns : (place + 1) * columns]
        for cell, face in zip(cells, row.faces, strict=False):
            cell.imshow(face)
        cells[0].set_title(row.title, fontsize=11, loc="left", parse_math=False)
    return figure
