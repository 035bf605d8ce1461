"""The plots of a benchmark: nothing hides, nothing runs out of the frame."""

import numpy as np

from eval.metrics.error_curves import errors_of
from eval.plots.benchmark import accuracies_figure, plot_set

CONDITIONS = ("plain–plain", "plain–masked, mask first", "masked–masked, mask first", "plain–masked, alignment first")
MARKS = {
    "lfw": {name: (0.999 - 0.01 * number, 0.02) for number, name in enumerate(CONDITIONS)},
    "agedb_30": {CONDITIONS[0]: (0.95, 0.01), CONDITIONS[3]: (0.95, 0.01)},
}


def test_every_set_and_condition_has_its_mark():
    figure = accuracies_figure(MARKS, title="a title", subtitle="a run")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(MARKS)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(CONDITIONS)
    marks = [line.get_xydata()[0] for container in axes.containers for line in [container.lines[0]]]
    assert len(marks) == 6 and len({tuple(mark) for mark in marks}) == 6
    assert axes.get_xlim()[1] == 1
    ends = np.concatenate([bar.get_segments()[0] for container in axes.containers for bar in container.lines[2]])
    assert ends[:, 0].max() <= 1


def test_a_det_plot_with_many_conditions_leaves_room_for_its_axes(tmp_path):
    rng = np.random.default_rng(0)
    same = np.arange(100) % 2 == 0
    curves = [errors_of(name, np.where(same, 0.8, 1.2) + rng.normal(0, 0.3, 100), same, None) for name in CONDITIONS]
    plot_set(tmp_path / "det.png", curves, title="DET, lfw", subtitle="a run")
    assert (tmp_path / "det.png").stat().st_size > 10_000
