"""The plots of a run: distance histograms of an epoch, IOU and loss per epoch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.plots.panels import distance_panel
from eval.plots.style import (
    BEST,
    FAINT,
    INK,
    RATE,
    SAME,
    epoch_axis,
    headline,
    house_style,
    line_look,
    new_figure,
    save,
)
from eval.plots.test_result import TOP_DENSITY
from eval.text import number

# With all but a few distances under this, the embeddings are practically equal.
_COLLAPSED = 0.05

# What the histograms look like, up to each IOU.
_WORDS = {0.02: "are clearly separated", 0.15: "are well separated", 0.5: "overlap partly", 0.85: "overlap mostly"}


def plot_distribution(path: Path, distances: np.ndarray, same: np.ndarray, **labels: object) -> None:
    """Write ``distribution_epochN.png``; arguments as ``distribution_figure``."""
    save(distribution_figure(distances, same, **labels), path)


def plot_iou(
    path: Path, epochs: Sequence[int], iou: Sequence[float | None], lr: Sequence[float], **labels: object
) -> None:
    """Write ``iou.png``; arguments as ``iou_figure``."""
    save(iou_figure(epochs, iou, lr, **labels), path)


def plot_train_loss(
    path: Path, epochs: Sequence[int], loss: Sequence[float], lr: Sequence[float], **labels: object
) -> None:
    """Write ``train_loss.png``; arguments as ``train_loss_figure``."""
    save(train_loss_figure(epochs, loss, lr, **labels), path)


def plot_lengths(path: Path, history: Sequence[dict], **labels: object) -> None:
    """Write ``lengths.png``; arguments as ``lengths_figure``."""
    save(lengths_figure(history, **labels), path)


@house_style()
def distribution_figure(
    distances: np.ndarray,
    same: np.ndarray,
    *,
    run: str,
    epoch: int,
    threshold: float | None,
    iou: float | None,
    auc: float | None,
) -> Figure:
    """Distance histograms of same and different pairs after an epoch; both axes keep one range in all epochs.

    ``distances`` (P,) in [0, 2], ``same`` bool (P,); the threshold, IOU and AUC as evaluated on these pairs.
    """
    figure = new_figure(8, 5.4)
    headline(
        figure,
        f"Epoch {epoch}: {_story(np.asarray(distances), iou)}",
        f"IOU {number(iou)}   ·   AUC {number(auc, 4)}   ·   {run}",
    )
    distance_panel(figure.add_subplot(), distances, same, threshold, top=TOP_DENSITY)
    return figure


@house_style()
def iou_figure(
    epochs: Sequence[int], iou: Sequence[float | None], lr: Sequence[float], *, run: str, best_epoch: int | None
) -> Figure:
    """IOU of the evaluation pairs per epoch (None: no value); the epoch kept and the steps of the rate are marked."""
    epochs, values = list(epochs), np.array([np.nan if v is None else v for v in iou], dtype=float)
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    _mark_steps(axes, _rate_steps(epochs, np.asarray(lr, dtype=float)))
    axes.plot(epochs, values, color=SAME, marker="o", markersize=_marker_size(epochs), clip_on=False)
    axes.set_ylim(0, _iou_top(values))
    title = "IOU per epoch"
    if best_epoch in epochs:
        best = values[epochs.index(best_epoch)]
        title = f"Lowest IOU: {number(best)} at epoch {best_epoch} of {epochs[-1]}"
        _mark_best(axes, epochs, values, best_epoch)
    headline(figure, title, f"overlap of same and different pairs: 0 disjoint, 1 identical   ·   {run}")
    epoch_axis(axes, epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("IOU (lower is better)")
    return figure


@house_style()
def train_loss_figure(epochs: Sequence[int], loss: Sequence[float], lr: Sequence[float], *, run: str) -> Figure:
    """Mean training loss per epoch, and under it the learning rate; its steps are marked in both panels."""
    epochs, losses, rates = list(epochs), np.asarray(loss, dtype=float), np.asarray(lr, dtype=float)
    figure = new_figure(8, 5.6)
    headline(figure, _loss_story(losses), f"mean over each epoch's batches   ·   {run}")
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1.1]})
    steps = _rate_steps(epochs, rates)
    _mark_steps(upper, steps)
    for step in steps:
        lower.axvline(step, color=RATE, linewidth=1.2, linestyle=(0, (2, 2)))
    upper.plot(epochs, losses, color=INK, marker="o", markersize=_marker_size(epochs))
    finite = losses[np.isfinite(losses)]
    if len(finite) and finite.min() >= 0:
        upper.set_ylim(0, max(float(finite.max()) * 1.08, 1e-6))
    upper.set_ylabel("training loss")
    lower.plot(epochs, rates, color=RATE, drawstyle="steps-mid", marker="o" if len(epochs) == 1 else None)
    _rate_axis(lower, rates, stepped=bool(steps))
    lower.set_xlabel("epoch")
    epoch_axis(lower, epochs)
    figure.align_ylabels()
    return figure


@house_style()
def lengths_figure(history: Sequence[dict], *, run: str) -> Figure:
    """Mean length before normalising of plain and of masked evaluation faces, per epoch.

    ``history``: lines with ``epoch``, ``length_plain`` and ``length_masked``.
    """
    epochs = [line["epoch"] for line in history]
    figure = new_figure(8, 5)
    ratio = history[-1]["length_masked"] / max(history[-1]["length_plain"], 1e-9)
    headline(
        figure,
        f"Masked faces: {ratio:.2f} times the length of plain ones",
        f"mean length of embeddings before normalising   ·   {run}",
    )
    axes = figure.add_subplot()
    for line_number, name in enumerate(("plain", "masked")):
        lengths = [line[f"length_{name}"] for line in history]
        axes.plot(
            epochs,
            lengths,
            label=f"{name} faces",
            marker="o",
            markersize=_marker_size(epochs),
            **line_look(line_number),
        )
    longest = max(max(line["length_plain"], line["length_masked"]) for line in history)
    axes.set_ylim(0, 1.08 * longest or None)  # room for the markers
    epoch_axis(axes, epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean length")
    axes.legend(loc="lower right")
    return figure


def _story(distances: np.ndarray, iou: float | None) -> str:
    """The title: what the histograms show, in words."""
    if len(distances) and np.quantile(distances, 0.99) < _COLLAPSED:
        return f"collapsed, all distances under {_COLLAPSED}"
    if iou is None:
        return "one kind of pair only"
    words = next((words for bound, words in _WORDS.items() if iou < bound), "are not separated")
    return f"same and different pairs {words}"


def _iou_top(values: np.ndarray) -> float:
    """Round upper ends, so that a run's plots change their range seldom, and a good run is not a flat line."""
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    return next((top for top in (0.1, 0.2, 0.5) if highest <= top), 1.0)


def _mark_best(axes: Axes, epochs: list[int], values: np.ndarray, best_epoch: int) -> None:
    """A star, and its label below, where no lower value can be; above the curve where the axis leaves no room."""
    best, top = values[epochs.index(best_epoch)], axes.get_ylim()[1]
    axes.axhline(best, color=BEST, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.plot(best_epoch, best, marker="*", markersize=20, color=BEST, markeredgecolor="white", clip_on=False)
    reach = 0.4 * (epochs[-1] - epochs[0])
    left_of_star = best_epoch > (epochs[0] + epochs[-1]) / 2
    ends = (best_epoch - reach, best_epoch) if left_of_star else (best_epoch, best_epoch + reach)
    height = best - 0.09 * top
    if height < 0.05 * top:
        near = [v for e, v in zip(epochs, values, strict=True) if ends[0] <= e <= ends[1] and np.isfinite(v)]
        height = max(near) + 0.09 * top
    label = f"best: epoch {best_epoch}, IOU {number(best)}"
    side = "right" if left_of_star else "left"
    axes.text(best_epoch, height, label, ha=side, va="center", color=BEST, fontweight="bold")


def _rate_axis(axes: Axes, rates: np.ndarray, stepped: bool) -> None:
    """Decades where the rate falls in steps, a plain axis from 0 for a smooth schedule."""
    axes.set_ylabel("learning rate")
    positive = rates[rates > 0]
    if not len(positive):
        return
    if stepped and positive.max() / positive.min() >= 5:
        axes.set_yscale("log")
        axes.set_ylim(positive.min() / 2, positive.max() * 2)
    else:
        axes.set_ylim(0, positive.max() * 1.25)
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")


def _mark_steps(axes: Axes, steps: list[float]) -> None:
    """A line at each step of the rate, the first with its name above the axes."""
    for place, step in enumerate(steps):
        axes.axvline(step, color=RATE, linewidth=1.2, linestyle=(0, (2, 2)), label=None if place else "lr step")
    if steps:
        axes.text(
            steps[0], 1.01, "lr step", transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=11,
            color=FAINT,
        )  # fmt: skip


def _rate_steps(epochs: list[int], rates: np.ndarray) -> list[float]:
    """Where a rate that stood still at least halves: the steps of a schedule, not the slope of a smooth one.

    At the first epoch, before which nothing is known, it must stand still afterwards.
    """
    level = np.isclose(rates[1:], rates[:-1])  # level[i]: no change between i and i + 1
    return [
        (epochs[i - 1] + epochs[i]) / 2
        for i in range(1, len(rates))
        if rates[i] <= 0.5 * rates[i - 1] and (level[i - 2] if i >= 2 else level[1:2].any())
    ]


def _loss_story(losses: np.ndarray) -> str:
    if len(losses) == 1:
        return f"Training loss {losses[0]:.3g} after one epoch"
    return f"Training loss {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} epochs"


def _marker_size(epochs: Sequence[int]) -> float:
    return 7 if len(epochs) <= 30 else 0
