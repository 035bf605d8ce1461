"""The open set of a door: how many strangers are let in against how many of the enrolled are not (ISO/IEC 19795-1)."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from eval.metrics.error_curves import Errors
from eval.plots.roc_det import det_of
from eval.plots.style import house_style, save


def plot_door(path: Path, curves: Mapping[str, Errors], *, subtitle: str) -> None:
    """Write the plot; arguments as ``door_figure``."""
    save(door_figure(curves, subtitle=subtitle), path)


@house_style()
def door_figure(curves: Mapping[str, Errors], *, subtitle: str) -> Figure:
    """FNIR over FPIR, both log, for all probes and each condition; ``curves`` by name."""
    figure = det_of(list(curves.values()), "DET, open-set identification", subtitle)
    axes = figure.axes[0]
    axes.set_xlabel("strangers' pictures accepted (FPIR); dotted: fewer than ten")
    axes.set_ylabel("enrolled people not identified (FNIR = 1 − TPIR)")
    return figure
