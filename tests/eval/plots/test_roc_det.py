"""ROC and DET: what is drawn, and how."""

import numpy as np
import pytest

from eval.metrics.error_curves import errors_of
from eval.plots.roc_det import det_figure, plot_det, plot_roc, roc_figure, roc_of
from eval.plots.worst_pairs import worst_pairs

RNG = np.random.default_rng(0)
SAME = np.arange(400) < 200
DISTANCES = np.where(SAME, RNG.normal(0.9, 0.2, 400), RNG.normal(1.3, 0.1, 400)).round(2)
CONDITION = np.array(["plain-plain", "masked-masked"])[np.arange(400) % 2]


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def test_roc_and_det_have_a_line_for_all_pairs_and_each_condition_on_log_axes():
    roc = roc_figure(DISTANCES, SAME, CONDITION, run="r", threshold=1.1)
    det = det_figure(DISTANCES, SAME, CONDITION, run="r", threshold=1.1)
    for figure in (roc, det):
        assert {"all pairs", "plain-plain", "masked-masked"} <= set(lines(figure))
        assert figure.axes[0].get_xscale() == "log"
    assert (roc.axes[0].get_yscale(), det.axes[0].get_yscale()) == ("linear", "log")
    circle = next(line for line in roc.axes[0].lines if line.get_marker() == "o")
    assert circle.get_xdata()[0] == np.mean(DISTANCES[~SAME] <= 1.1)


def test_a_line_is_dotted_where_fewer_than_ten_different_pairs_are_accepted():
    solid = lines(roc_figure(DISTANCES, SAME, np.full(400, "all"), run="r", threshold=None))["all pairs"]
    assert solid.get_xdata()[0] >= 10 / 200


@pytest.mark.parametrize("kind", ["perfect", "collapsed", "one kind"])
def test_extreme_tests_are_drawn(tmp_path, kind):
    distances = {"perfect": np.where(SAME, 0.4, 1.4), "collapsed": np.zeros(400), "one kind": DISTANCES}[kind]
    same = SAME | (kind == "one kind")
    for plot in (plot_roc, plot_det):
        plot(tmp_path / "plot.png", distances, same, CONDITION, run="r", threshold=0.9)
        assert (tmp_path / "plot.png").stat().st_size > 5_000


@pytest.mark.parametrize("name", ["s1", "2026-11-26_10-33-41", "a run with a name of many letters, more than forty"])
def test_the_legend_of_a_comparison_stays_inside_the_figure(name):
    figure = roc_of([errors_of(f"{name} {n}", DISTANCES, SAME, 1.1) for n in range(5)], "ROC", "of many runs")
    figure.canvas.draw()
    inside = figure.get_size_inches()[0] * figure.dpi
    assert figure.axes[0].get_legend().get_window_extent().x1 <= inside


def test_a_perfect_det_says_why_it_is_empty():
    figure = det_figure(np.where(SAME, 0.4, 1.4), SAME, CONDITION, run="r", threshold=0.9)
    assert "no errors" in figure.axes[0].texts[0].get_text()
    assert not det_figure(DISTANCES, SAME, CONDITION, run="r", threshold=0.9).axes[0].texts


def test_the_worst_pairs_are_the_closest_different_and_the_farthest_same():
    distances, same = np.array([0.5, 0.1, 1.9, 1.2, 0.3]), np.array([0, 0, 1, 1, 0], dtype=bool)
    closest, farthest = worst_pairs(distances, same, count=2)
    assert (closest.tolist(), farthest.tolist()) == ([1, 4], [2, 3])
    assert worst_pairs(distances, ~same | same)[0].tolist() == []
