"""Curves of several runs in one plot; the seeds of one model look the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eval.metrics.error_curves import errors_of
from eval.plots.roc_det import roc_of
from eval.plots.style import epoch_axis, headline, house_style, legend_above, line_look, new_figure, save

# Epochs and one value for each, None if there is none.
EpochCurve = tuple[Sequence[int], Sequence[float | None]]


def plot_curves(path: Path, curves: Mapping[str, Sequence[EpochCurve]], **words: str) -> None:
    """Write one value per epoch for each run; arguments as ``curves_figure``."""
    save(curves_figure(curves, **words), path)


def plot_rocs(path: Path, models: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray, float]]]) -> None:
    """Write the ROC of several runs: model → (distances (P,), same (P,), the run's threshold) of each run."""
    lines = [errors_of(name, *run) for name, runs in models.items() for run in runs]
    subtitle = "● each run at its own threshold"
    save(roc_of([line for line in lines if line is not None], "ROC on the shared test pairs", subtitle), path)


@house_style()
def curves_figure(curves: Mapping[str, Sequence[EpochCurve]], title: str, subtitle: str, label: str) -> Figure:
    """A figure with one line per run, model → curves; None leaves a gap. The y-axis, named ``label``, starts at 0."""
    figure = new_figure(8, 5.4)
    headline(figure, title, subtitle)
    axes = figure.add_subplot()
    epochs = sorted({epoch for runs in curves.values() for run_epochs, _ in runs for epoch in run_epochs})
    marker = "o" if len(epochs) <= 30 else None
    for number, (name, runs) in enumerate(curves.items()):
        for run, (run_epochs, values) in enumerate(runs):
            heights = [np.nan if value is None else value for value in values]
            look = {"marker": marker, "markersize": 6, "clip_on": False, **line_look(number)}
            axes.plot(run_epochs, heights, label=None if run else name, **look)
    axes.set_ylim(0, None)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    epoch_axis(axes, epochs)
    legend_above(axes)
    return figure
