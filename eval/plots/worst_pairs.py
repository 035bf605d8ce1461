"""The worst pairs of a test, as faces: what to look at first when a result disappoints."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.metrics.evaluation import Evaluation
from eval.plots.style import DIFFERENT, SAME, headline, house_style, new_figure, save
from eval.text import number

_SHOWN = 6
_GAP = 0.04


def worst_pairs(distances: np.ndarray, same: np.ndarray, count: int = _SHOWN) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the closest different pairs, nearest first, and of the farthest same pairs, farthest first."""
    order = np.argsort(distances, kind="stable")
    return order[~same[order]][:count], order[same[order]][::-1][:count]


def plot_worst_pairs(
    path: Path, evaluation: Evaluation, faces: Callable[[np.ndarray], np.ndarray], *, run: str
) -> None:
    """Write ``worst_pairs.png``; arguments as ``worst_pairs_figure``."""
    save(worst_pairs_figure(evaluation, faces, run=run), path)


@house_style()
def worst_pairs_figure(evaluation: Evaluation, faces: Callable[[np.ndarray], np.ndarray], *, run: str) -> Figure:
    """Two columns of faces with their distances: the closest different people and the farthest same person.

    ``faces(indices)`` gives the images of these numbers as uint8 (n, H, W, 3) RGB. Pairs on the right side of the
    threshold are called correct: of a good network even the worst may be.
    """
    chosen = worst_pairs(evaluation.distances, evaluation.same)
    rows = max(len(part) for part in chosen)
    figure = new_figure(6.4, 1.2 + 1.65 * rows)
    headline(figure, "Worst pairs", f"threshold {number(evaluation.threshold)}   ·   {run}")
    grid = figure.subplots(rows, 2, squeeze=False)
    titles = ("closest different people", "farthest same person")
    for column, (part, title, colour) in enumerate(zip(chosen, titles, (DIFFERENT, SAME), strict=True)):
        grid[0, column].set_title(title, color=colour, fontsize=13, fontweight="bold")
        for axes in grid[:, column]:
            axes.set_axis_off()
        for axes, pair in zip(grid[:, column], part, strict=False):
            sides = np.array([evaluation.pairs.left[pair], evaluation.pairs.right[pair]])
            _draw_pair(axes, faces(sides), _caption(evaluation, int(pair)))
    return figure


def _draw_pair(axes: Axes, two: np.ndarray, caption: str) -> None:
    height, width = two.shape[1:3]
    wide = width / height
    for place, face in enumerate(two):
        left = place * (wide + _GAP)
        axes.imshow(face, extent=(left, left + wide, 0, 1), interpolation="lanczos")
    axes.set_xlim(0, 2 * wide + _GAP)
    axes.set_ylim(0, 1)
    axes.text(wide + _GAP / 2, -0.05, caption, ha="center", va="top", fontsize=10.5)


def _caption(evaluation: Evaluation, pair: int) -> str:
    """The distance, the mask condition, and whether the pair is classified correctly."""
    distance, same = evaluation.distances[pair], bool(evaluation.same[pair])
    parts = [number(distance)]
    if evaluation.condition[pair] != "all":
        parts.append(str(evaluation.condition[pair]))
    if evaluation.threshold is not None:
        parts.append("correct" if (distance <= evaluation.threshold) == same else "wrong")
    return ", ".join(parts)
