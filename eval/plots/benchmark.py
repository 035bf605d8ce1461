"""The field's test sets in one plot: a line for each set, a mark for each condition."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.metrics.error_curves import Errors
from eval.plots.roc_det import det_of
from eval.plots.style import FAINT, headline, house_style, legend_above, line_look, new_figure, save
from eval.text import percent

# Accuracy and what its bar reaches to either side, both shares.
Mark = tuple[float, float]

# Colours and markers of the conditions: bare, a mask on one face, on both. A second kind of masks is hollow.
_MARKERS = ("o", "s", "D")
_STEP = 0.16
_LINE_INCHES = 0.85


def plot_accuracies(path: Path, marks: Mapping[str, Mapping[str, Mark]], **words: str) -> None:
    """Write the plot; arguments as ``accuracies_figure``."""
    save(accuracies_figure(marks, **words), path)


def plot_set(path: Path, curves: Sequence[Errors], *, title: str, subtitle: str) -> None:
    """Write the DET curves of one set in its conditions."""
    figure = det_of(list(curves), title, subtitle, height=6 + 0.25 * max(0, len(curves) - 3))
    figure.axes[0].set_ylabel("same-person pairs rejected (FNMR = 1 − TAR)")
    save(figure, path)


@house_style()
def accuracies_figure(marks: Mapping[str, Mapping[str, Mark]], *, title: str, subtitle: str) -> Figure:
    """Accuracy of each set (rows, by name) in each condition, or of each model; ``marks``: set → condition → Mark."""
    conditions = list(dict.fromkeys(name for of_set in marks.values() for name in of_set))
    figure = new_figure(8, 2.1 + _LINE_INCHES * len(marks) + 0.12 * len(conditions))
    headline(figure, title, subtitle)
    axes, named = figure.add_subplot(), set()
    for row, of_set in enumerate(marks.values()):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color=FAINT, alpha=0.07, linewidth=0)
        # Beside one another, so that equal values do not hide each other.
        for place, (name, (value, reach)) in enumerate(of_set.items()):
            label = None if name in named else name
            named.add(name)
            down = row + _STEP * (place - (len(of_set) - 1) / 2)
            ends = [[reach], [min(reach, 1 - value)]]
            axes.errorbar([value], [down], xerr=ends, label=label, **_look(conditions.index(name)))
    axes.set_yticks(range(len(marks)), list(marks))
    axes.set_ylim(len(marks) - 0.5, -0.5)
    axes.set_xlim(None, 1.0)
    axes.xaxis.set_major_formatter(lambda share, _: percent(share, 0 if _whole(axes) else 1))
    axes.set_xlabel("accuracy; bars: ± standard deviation of the ten folds")
    axes.grid(axis="y", visible=False)
    legend_above(axes)
    return figure


def _whole(axes: Axes) -> bool:
    """Whether the ticks are far enough apart to be whole percents."""
    ticks = axes.get_xticks()
    return len(ticks) < 2 or ticks[1] - ticks[0] > 0.0099


def _look(number: int) -> dict:
    """Of the condition with this number: 0 is bare, 1 and 2 the first kind of masks, 3 and 4 the second."""
    kind = number if number < len(_MARKERS) else 1 + (number - 1) % 2
    colour, hollow = line_look(kind)["color"], number >= len(_MARKERS)
    look = {"color": colour, "marker": _MARKERS[kind], "markerfacecolor": "white" if hollow else colour}
    return look | {"markersize": 8, "linestyle": "none", "elinewidth": 1.6, "capsize": 3.5, "clip_on": False}
