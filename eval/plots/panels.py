"""The parts of the plots, each drawn into one matplotlib axes: distances, confusion matrix, conditions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from eval.metrics.accuracy import KINDS, confusion
from eval.metrics.distances import MAX_DISTANCE, Histograms, histograms
from eval.plots.style import DIFFERENT, FAINT, INK, SAME
from eval.text import has_width, number, percent

_PANEL_TITLE = 14


def distance_panel(
    axes: Axes, distances: np.ndarray, same: np.ndarray, threshold: float | None, top: float | None = None
) -> None:
    """Histograms of same and different pairs on [0, 2], their overlap hatched, the threshold as a line.

    ``top`` fixes the y-range; a peak that it cuts is labelled with its height.
    """
    found = draw_histograms(axes, distances, same, threshold)
    axes.set_ylim(0, top)
    axes.set_xlabel("L2 distance of the two faces' embeddings")
    axes.set_ylabel("density")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=1.6, borderaxespad=0.2)
    if top is not None:
        _label_cut_peaks(axes, found, top)


def draw_histograms(axes: Axes, distances: np.ndarray, same: np.ndarray, threshold: float | None) -> Histograms:
    """The histograms, their overlap and the threshold, on an x-axis from 0 to 2; no legend, no labels."""
    found = histograms(distances, same)
    counts = int(np.sum(same)), len(same) - int(np.sum(same))
    kinds = zip((found.same, found.different), (SAME, DIFFERENT), KINDS, counts, strict=True)
    for density, colour, kind, pairs in kinds:
        axes.stairs(density, found.edges, fill=True, color=colour, alpha=0.30)
        axes.stairs(density, found.edges, color=colour, linewidth=2, label=f"{kind} ({pairs:,} pairs)")
    overlap = np.minimum(found.same, found.different)
    look = {"facecolor": "none", "edgecolor": INK, "linewidth": 0, "hatch": "////"}
    axes.stairs(overlap, found.edges, fill=True, label="overlap", **look)
    if threshold is not None:
        label = f"threshold {number(threshold)}"
        axes.axvline(threshold, color=INK, linewidth=1.8, linestyle=(0, (5, 3)), label=label)
    axes.set_xlim(0, MAX_DISTANCE)
    axes.set_xticks(np.linspace(0, MAX_DISTANCE, 9))
    return found


def confusion_panel(axes: Axes, distances: np.ndarray, same: np.ndarray, threshold: float) -> None:
    """The confusion matrix, in counts and shares of the row: rows actual, columns predicted; correct is blue."""
    counts = confusion(distances, same, threshold)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(counts):
        share, colour = float(shares[row, column]), SAME if row == column else DIFFERENT
        across, down = [column - 0.48, column + 0.48], (row - 0.48, row + 0.48)
        axes.fill_between(across, *down, color=colour, alpha=0.08 + 0.5 * share, linewidth=0)
        place = {"ha": "center", "va": "center"}
        axes.text(column, row - 0.1, f"{count:,}", fontsize=21, fontweight="bold", **place)
        axes.text(column, row + 0.22, percent(share, 1), fontsize=14, **place)
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(1.5, -0.5)
    axes.set_xticks([0, 1], KINDS)
    axes.set_yticks([0, 1], KINDS, rotation=90, va="center")
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title("Confusion matrix (% of each row)", loc="left", fontsize=_PANEL_TITLE)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def conditions_panel(axes: Axes, figures: dict) -> None:
    """Accuracy over all pairs and for each condition, with 95 % intervals if known; from 50 %, which is chance."""
    rows = [("all pairs", figures), *figures["by_condition"].items()]
    low = min(0.5, float(np.floor(min(row["accuracy"] for _, row in rows) * 10) / 10))
    for place, (name, row) in enumerate(rows):
        interval = (row.get("intervals") or {}).get("accuracy")
        _draw_accuracy(axes, place, low, row["accuracy"], interval, INK if name == "all pairs" else SAME)
    axes.set_yticks(range(len(rows)), [f"{name}\n{row['pairs']:,} pairs" for name, row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(low, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    title = "Accuracy by mask condition" if len(rows) > 1 else "Accuracy"
    bars = "; bars: 95 % intervals over people" if figures.get("intervals") else ""
    axes.set_title(title + bars, loc="left", fontsize=_PANEL_TITLE)


def _draw_accuracy(
    axes: Axes, place: int, low: float, accuracy: float, interval: list[float] | None, colour: str
) -> None:
    """A dot on a stem from ``low``, the interval as a bar, and beside the axes both as numbers."""
    axes.hlines(place, low, accuracy, color=colour, linewidth=2, alpha=0.3)
    axes.plot(accuracy, place, "o", color=colour, markersize=11, clip_on=False)
    beside = {"transform": axes.get_yaxis_transform(), "va": "center"}
    shown = has_width(interval)
    above = 0.16 if shown else 0
    axes.text(1.025, place - above, percent(accuracy, 2), fontsize=14, fontweight="bold", **beside)
    if shown:
        axes.hlines(place, *interval, color=colour, linewidth=9, alpha=0.35, clip_on=False)
        ends = f"{interval[0] * 100:.1f}–{interval[1] * 100:.1f}"
        axes.text(1.025, place + 0.22, ends, fontsize=12, color=FAINT, **beside)


def _label_cut_peaks(axes: Axes, found: Histograms, top: float) -> None:
    """Beside each peak that the y-range cuts: how high it goes."""
    row = 0
    for density, colour, kind in zip((found.same, found.different), (SAME, DIFFERENT), KINDS, strict=True):
        if density.max() <= top:
            continue
        peak = int(density.argmax())
        on_the_right = found.edges[peak] < 0.75 * MAX_DISTANCE
        axes.annotate(
            f"▲ {kind}: up to {density.max():.3g}",
            (found.edges[peak + 1] if on_the_right else found.edges[peak], top),
            xytext=(6 if on_the_right else -6, -12 - 20 * row),
            textcoords="offset points",
            ha="left" if on_the_right else "right",
            color=colour,
            fontweight="bold",
        )
        row += 1
