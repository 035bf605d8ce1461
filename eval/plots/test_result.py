"""The plots of the test: confusion matrix, distances, accuracy by condition."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eval.metrics.conditions import ALL_PAIRS, parts
from eval.metrics.distances import iou as overlap
from eval.plots.panels import conditions_panel, confusion_panel, distance_panel, draw_histograms
from eval.plots.style import headline, house_style, new_figure, save
from eval.text import number, percent

# Density at which the histograms are cut, the same in every epoch, so that plots can be leafed through.
# Trained networks peak at 4 to 7; a collapse piles up to 50 in a single bin, and the plot says so.
TOP_DENSITY = 8.0


def plot_conditions(path: Path, distances: np.ndarray, same: np.ndarray, condition: np.ndarray, **labels) -> None:
    """Write ``distances_by_condition.png``; arguments as ``conditions_figure``."""
    save(conditions_figure(distances, same, condition, **labels), path)


def plot_test_result(path: Path, distances: np.ndarray, same: np.ndarray, figures: dict, **labels: object) -> None:
    """Write ``test_result.png``; arguments as ``result_figure``."""
    save(result_figure(distances, same, figures, **labels), path)


@house_style()
def result_figure(distances: np.ndarray, same: np.ndarray, figures: dict, *, run: str, threshold_source: str) -> Figure:
    """The test result, readable by itself: headline, confusion matrix, histogram at the threshold,
    conditions.

    ``figures`` is the dict of ``eval.metrics.figures`` with a threshold; ``threshold_source`` says where
    that was chosen ("the evaluation pairs of epoch 17").
    """
    figure = new_figure(12, 8 if figures["by_condition"] else 6.4)
    threshold = figures["threshold"]
    rests_on = f"AUC {number(figures['auc'], 4)}   ·   threshold {number(threshold)}, chosen on {threshold_source}"
    headline(
        figure,
        f"Test: {percent(figures['accuracy'], 2)} of {figures['pairs']:,} pairs classified correctly",
        f"{rests_on}   ·   {run}",
    )
    rows = 1 + len(figures["by_condition"])
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.35], height_ratios=[4.5, 0.5 + 0.8 * rows])
    confusion_panel(figure.add_subplot(grid[0, 0]), distances, same, threshold)
    distance_panel(figure.add_subplot(grid[0, 1]), distances, same, threshold)
    conditions_panel(figure.add_subplot(grid[1, :]), figures)
    return figure


@house_style()
def conditions_figure(
    distances: np.ndarray, same: np.ndarray, condition: np.ndarray, *, run: str, threshold: float | None
) -> Figure:
    """Test distances of each condition under one another, on the same axes, at the one threshold.

    ``distances`` (P,), ``same`` bool (P,), ``condition`` str (P,); all pairs stand for themselves where the conditions
    are not known.
    """
    groups = parts(condition)
    if len(groups) > 1:
        del groups[ALL_PAIRS]
    figure = new_figure(8, 1.5 + 2.1 * len(groups))
    title = "Distances by mask condition" if len(groups) > 1 else "Distances of the test pairs"
    headline(figure, title, run if threshold is None else f"threshold {number(threshold)} for all   ·   {run}")
    panels = figure.subplots(len(groups), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, rows) in zip(panels, groups.items(), strict=True):
        draw_histograms(axes, distances[rows], same[rows], threshold)
        shared = overlap(distances[rows], same[rows])
        counts = f"{int(same[rows].sum()):,} same, {int((~same[rows]).sum()):,} different"
        axes.set_title(f"{name}   {counts}   IOU {number(shared)}", loc="left", fontsize=13, fontweight="bold")
        axes.set_ylabel("density")
    panels[-1].set_xlabel("L2 distance of the two faces' embeddings")
    handles, names = panels[0].get_legend_handles_labels()[0], ["same", "different", "overlap", "threshold"]
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1.14), "borderaxespad": 0.2}
    panels[0].legend(handles, names[: len(handles)], ncols=4, handlelength=1.6, **place)
    return figure
