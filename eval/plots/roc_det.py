"""ROC and DET of a test: what each threshold accepts and rejects, on log axes, for all pairs and each condition."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.metrics.error_curves import Errors, errors_by_condition
from eval.metrics.roc import auc, curve, eer
from eval.plots.style import FAINT, headline, house_style, legend_above, line_look, new_figure, save
from eval.text import number, percent

# Fewer false accepts than this are too few to read a rate from: the line is dotted.
_LEAST_ACCEPTS = 10
_NOTE = {"ha": "center", "color": FAINT, "backgroundcolor": "white"}


def plot_roc(path: Path, distances: np.ndarray, same: np.ndarray, condition: np.ndarray, **labels: object) -> None:
    """Write ``roc.png``; arguments as ``roc_figure``."""
    save(roc_figure(distances, same, condition, **labels), path)


def plot_det(path: Path, distances: np.ndarray, same: np.ndarray, condition: np.ndarray, **labels: object) -> None:
    """Write ``det.png``; arguments as ``det_figure``."""
    save(det_figure(distances, same, condition, **labels), path)


@house_style()
def roc_figure(
    distances: np.ndarray, same: np.ndarray, condition: np.ndarray, *, run: str, threshold: float | None
) -> Figure:
    """The ROC: share of same pairs accepted over share of different pairs accepted (log), all pairs and each condition.

    ``distances`` (P,), ``same`` bool (P,), ``condition`` str (P,); a circle marks the ``threshold``.
    """
    title = f"ROC: AUC {number(auc(curve(distances, same)), 4)}"
    return roc_of(errors_by_condition(distances, same, condition, threshold), title, _rests_on(threshold, run))


@house_style()
def roc_of(errors: list[Errors], title: str, subtitle: str) -> Figure:
    """The ROC curves of several lists of pairs, or of several models, in one plot; those of one name look the same."""
    figure = new_figure(8, 6)
    headline(figure, title, subtitle)
    axes = figure.add_subplot()
    left = _lowest([e.different for e in errors])
    _draw(axes, errors, left, lambda tar: tar)
    chance = np.geomspace(left, 1, 200)
    axes.plot(chance, chance, color=FAINT, linewidth=1.2, linestyle=(0, (1, 2)), label="chance")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(lambda rate, _: percent(rate, 0))
    axes.set_ylabel("same-person pairs accepted (TAR = 1 − FNMR)")
    legend_above(axes)
    return figure


@house_style()
def det_figure(
    distances: np.ndarray, same: np.ndarray, condition: np.ndarray, *, run: str, threshold: float | None
) -> Figure:
    """The DET curve: share of same pairs rejected over share of different pairs accepted, both log (ISO/IEC 19795-1).

    Arguments as ``roc_figure``. A line that runs along the frame has no error of that kind.
    """
    rate = eer(curve(distances, same))
    errors = errors_by_condition(distances, same, condition, threshold)
    figure = det_of(errors, f"DET: equal error rate {percent(rate, 2)}", _rests_on(threshold, run))
    axes = figure.axes[0]
    axes.set_ylabel("same-person pairs rejected (FNMR = 1 − TAR)")
    if rate == 0:
        axes.text(0.4, 0.9, "no errors: the lines run along the frame", transform=axes.transAxes, **_NOTE)
    return figure


@house_style()
def det_of(errors: list[Errors], title: str, subtitle: str, *, height: float = 6) -> Figure:
    """The DET curves of several lists of pairs or probes in one plot, ``height`` inches high; the caller names the
    y-axis."""
    figure = new_figure(8, height)
    headline(figure, title, subtitle)
    axes = figure.add_subplot()
    left, bottom = _lowest([e.different for e in errors]), _lowest([e.same for e in errors])
    _draw(axes, errors, left, lambda tar: np.maximum(1 - tar, bottom))
    ends = max(left, bottom), 1
    axes.plot(ends, ends, color=FAINT, linewidth=1.2, linestyle=(0, (1, 2)), label="equal error")
    axes.set_yscale("log")
    axes.set_ylim(bottom, 1.15)
    axes.yaxis.set_major_formatter(_rate_label)
    legend_above(axes)
    return figure


def _rests_on(threshold: float | None, run: str) -> str:
    return run if threshold is None else f"● at the threshold {number(threshold)}   ·   {run}"


def _lowest(pairs: list[int]) -> float:
    """The decade of the smallest rate that so many pairs can show, 1 % at most."""
    return 10.0 ** min(np.floor(-np.log10(max(pairs, default=1))), -2)


def _draw(axes: Axes, errors: list[Errors], left: float, height) -> None:
    """The lines, dotted where they rest on a handful of pairs; ``height`` turns TAR into what the y-axis shows."""
    names = list(dict.fromkeys(line.name for line in errors))
    named = set()
    for line in errors:
        look = line_look(names.index(line.name))
        label = None if line.name in named else line.name
        named.add(line.name)
        far, shown = np.maximum(line.far, left), height(line.tar)
        known = int(np.searchsorted(line.far, _LEAST_ACCEPTS / line.different))
        drawn = {"drawstyle": "steps-post", "color": look["color"]}
        axes.plot(far[: known + 1], shown[: known + 1], **drawn, linewidth=1.6, linestyle=(0, (1, 1.5)))
        axes.plot(far[known:], shown[known:], **drawn, linestyle=look["linestyle"], label=label)
        if line.here is not None:
            x, y = max(line.here[0], left), height(np.array(line.here[1]))
            axes.plot(x, y, "o", markersize=9, color=look["color"], markeredgecolor="white", clip_on=False, zorder=3)
    if not errors:
        axes.text(0.5, 0.5, "one kind of pairs only", transform=axes.transAxes, **_NOTE)
    axes.set_xscale("log")
    axes.set_xlim(left, 1)
    axes.xaxis.set_major_formatter(_rate_label)
    axes.set_xlabel("different-person pairs accepted (FAR, FMR); dotted: fewer than ten pairs")


def _rate_label(rate: float, _: int) -> str:
    """0.01 → 1 %; 1e-4 → 0.01 %."""
    return f"{rate * 100:g} %"
