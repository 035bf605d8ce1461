"""The plot of a question: the accuracy of each arm under each condition."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data.tables.pair_csv import CONDITIONS
from eval.plots.style import FAINT, INK, SAME, headline, house_style, new_figure


@house_style()
def draw_answer(answer: dict) -> Figure:
    """A figure with a panel per condition, a row per arm and a dot per seed; ``answer`` as of ``write_answer``."""
    arms = answer["arms"]
    figure = new_figure(13, 2.2 + 0.42 * len(arms))
    headline(
        figure,
        answer["asks"],
        f"Accuracy on {answer['pairs']:,} pairs of {answer['people']:,} people. Dot: one seed; bar: their mean; "
        "dashed line: the pretrained network",
    )
    for axes, condition in zip(figure.subplots(1, len(CONDITIONS), sharey=True), CONDITIONS, strict=True):
        _draw_condition(axes, arms, condition)
        axes.axvline(100 * answer["untouched"][condition]["accuracy"], color=FAINT, linestyle=(0, (4, 3)))
        axes.set_title(condition.replace("-", "–"), loc="left", fontsize=13, fontweight="bold")
        axes.set_xlabel("accuracy (%)")
        axes.set_yticks(range(len(arms)), [arm["name"].replace("_", " ") for arm in arms])
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
    return figure


def _draw_condition(axes: Axes, arms: list[dict], condition: str) -> None:
    for row, arm in enumerate(arms):
        values = 100 * np.array(arm["accuracy"].get(condition, []))
        if not len(values):
            axes.text(0.02, row, "collapsed", transform=axes.get_yaxis_transform(), va="center", color=FAINT)
            continue
        # One above the other, since seeds often reach the same value.
        heights = row + 0.14 * (np.arange(len(values)) - (len(values) - 1) / 2)
        axes.plot(values, heights, "o", color=SAME, markersize=8, markeredgecolor="white")
        axes.plot(values.mean(), row, "|", color=INK, markersize=18, markeredgewidth=2.5)
