"""One look for all plots: colours, type sizes, and how a figure reaches the disk.

Colours are Okabe and Ito's (2008), told apart by all common kinds of colour blindness. Type sizes are chosen so
that a plot is legible at half its size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from runtime.files import replace_file

SAME = "#0072B2"  # blue
DIFFERENT = "#D55E00"  # vermillion
BEST = "#009E73"  # bluish green
RATE = "#CC79A7"  # reddish purple
INK = "#222222"
FAINT = "#6E6E6E"
# Lines of several parts or runs in one plot: colour and dash both tell them apart.
_LINE_COLOURS = (INK, "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#0072B2", "#D55E00")
_DASHES = ("-", (0, (6, 2)), (0, (3, 1.5)), (0, (7, 1.5, 1.5, 1.5)))

_LOOK = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.labelsize": 13,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.9,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "hatch.linewidth": 0.8,
}
_TITLE, _SUBTITLE = 17, 12.5


@contextmanager
def house_style() -> Iterator[None]:
    """The look, as a context or a decorator of what draws; the caller's own settings come back afterwards."""
    with matplotlib.rc_context(_LOOK):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of width × height inches. Not made by pyplot: nothing to close, no window, no global state."""
    return Figure(figsize=(width, height), layout="constrained")


def headline(figure: Figure, title: str, subtitle: str) -> None:
    """The finding in bold, and under it what it rests on; left-aligned above the axes."""
    height = figure.get_size_inches()[1]
    _write_line(figure, 0.14, title, fontsize=_TITLE, fontweight="bold")
    _write_line(figure, 0.50, subtitle, fontsize=_SUBTITLE, color=FAINT)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.78 / height), w_pad=0.1, h_pad=0.08)


def line_look(number: int) -> dict:
    """Colour and dash of the line with this number, 0 first; 28 lines differ."""
    return {"color": _LINE_COLOURS[number % len(_LINE_COLOURS)], "linestyle": _DASHES[number % len(_DASHES)]}


def epoch_axis(axes: Axes, epochs: list[int]) -> None:
    """Whole epochs on x, with room for a single one."""
    first, last = (min(epochs), max(epochs)) if epochs else (1, 1)
    axes.set_xlim(first - 0.5, last + max((last - first) * 0.02, 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


def legend_above(axes: Axes) -> None:
    """The legend between headline and axes, in as many columns, up to three, as its longest name leaves room for."""
    names = axes.get_legend_handles_labels()[1]
    inches = 0.85 + 0.105 * max(map(len, names), default=0)  # the line's sample and gaps, then about 8 points a letter
    columns = max(1, min(3, int((axes.figure.get_size_inches()[0] - 1) / inches)))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, handlelength=2.4)


@house_style()
def save(figure: Figure, path: Path) -> None:
    """Write a PNG as a whole or not at all."""
    with replace_file(Path(path)) as temporary:
        figure.savefig(temporary, format="png")


def _write_line(figure: Figure, inches_from_top: float, text: str, **font: object) -> None:
    """One line at the left edge, cut with an ellipsis where it would run out of the figure."""
    width, height = figure.get_size_inches()
    # A run's name may hold a dollar sign, which is no formula.
    line = figure.text(0.12 / width, 1 - inches_from_top / height, text, va="top", parse_math=False, **font)
    room = (width - 0.24) * figure.dpi
    drawn = line.get_window_extent().width
    if drawn > room:
        line.set_text(text[: int(len(text) * room / drawn) - 2] + "…")
