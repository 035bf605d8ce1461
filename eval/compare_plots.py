"""Curves of several runs over each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eval.error_curves import errors_of, roc_of
from eval.style import epoch_axis, headline, house_style, legend_above, line_look, new_figure, save


def plot_curves(path: Path, curves: Mapping[str, tuple[Sequence[int], Sequence[float | None]]], **words: str) -> None:
    """Write one value by epoch for each run: name → (epochs, values); None leaves a gap. ``words`` as
    ``curves_figure``."""
    save(curves_figure(curves, **words), path)


def plot_rocs(path: Path, runs: Mapping[str, tuple[np.ndarray, np.ndarray, float]]) -> None:
    """Write the ROC of several runs: name → (distances (P,), same (P,), the run's threshold)."""
    lines = [errors_of(name, *run) for name, run in runs.items()]
    subtitle = "●: each at its own threshold"
    save(roc_of([line for line in lines if line is not None], "ROC on the shared test pairs", subtitle), path)


@house_style()
def curves_figure(
    curves: Mapping[str, tuple[Sequence[int], Sequence[float | None]]], title: str, subtitle: str, label: str
) -> Figure:
    """One line a run; the y-axis, named ``label``, starts at 0."""
    figure = new_figure(8, 5.4)
    headline(figure, title, subtitle)
    axes = figure.add_subplot()
    epochs = sorted({epoch for run_epochs, _ in curves.values() for epoch in run_epochs})
    for number, (name, (run_epochs, values)) in enumerate(curves.items()):
        heights = [np.nan if value is None else value for value in values]
        marker = "o" if len(epochs) <= 30 else None
        axes.plot(run_epochs, heights, marker=marker, markersize=6, label=name, clip_on=False, **line_look(number))
    axes.set_ylim(0, None)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    epoch_axis(axes, epochs)
    legend_above(axes)
    return figure
