"""The plots of healthy, collapsed, perfect, one-epoch and long runs: files, ranges, labels and what they say."""

import re

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.patches import StepPatch

from eval.metrics.choose_threshold import best_threshold
from eval.metrics.distances import histograms
from eval.metrics.figures import figures
from eval.plots.style import DIFFERENT, SAME
from eval.plots.test_result import conditions_figure, plot_test_result, result_figure
from eval.plots.training import (
    distribution_figure,
    iou_figure,
    lengths_figure,
    plot_distribution,
    plot_iou,
    plot_train_loss,
    train_loss_figure,
)

CONDITIONS = np.array(["plain-plain", "plain-masked", "masked-masked"])


def made_up(kind: str):
    rng = np.random.default_rng(0)
    same = np.arange(600) < 300
    distances = {
        "healthy": np.where(same, rng.normal(0.9, 0.2, 600), rng.normal(1.38, 0.07, 600)),
        "collapsed": np.abs(rng.normal(0, 1e-5, 600)),
        "perfect": np.where(same, rng.normal(0.4, 0.05, 600), rng.normal(1.4, 0.04, 600)),
        "all zero": np.zeros(600),
    }[kind]
    return np.clip(distances, 0, 2), same


def epoch_plot(kind: str, epoch: int = 3, run: str = "run"):
    distances, same = made_up(kind)
    found = figures(distances, same, np.full(600, "all"), best_threshold(distances, same))
    chosen = {name: found[name] for name in ("threshold", "iou", "auc")}
    return distribution_figure(distances, same, run=run, epoch=epoch, **chosen)


def texts(figure) -> str:
    return " | ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


# ---- distribution_epochN.png ----


def test_one_axis_range_through_all_epochs():
    ranges = {
        (figure.axes[0].get_xlim(), figure.axes[0].get_ylim())
        for figure in (epoch_plot(kind) for kind in ("healthy", "collapsed", "perfect", "all zero"))
    }
    assert len(ranges) == 1
    assert ranges.pop()[0] == (0, 2)


def test_histograms_overlap_and_threshold_are_drawn_where_they_are():
    distances, same = made_up("healthy")
    axes = epoch_plot("healthy").axes[0]
    drawn = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    expected = histograms(distances, same)
    lines = {patch.get_edgecolor()[:3]: patch.get_data() for patch in drawn if not patch.get_fill()}
    for colour, density in ((SAME, expected.same), (DIFFERENT, expected.different)):
        values, edges, _ = lines[matplotlib.colors.to_rgb(colour)]
        np.testing.assert_allclose(values, density)
        np.testing.assert_allclose(edges, np.linspace(0, 2, 101))
    (overlap,) = [patch for patch in drawn if patch.get_hatch()]
    np.testing.assert_allclose(overlap.get_data()[0], np.minimum(expected.same, expected.different))
    assert axes.lines[0].get_xdata()[0] == best_threshold(distances, same)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("healthy", "Epoch 3: same and different pairs are well separated"),
        ("collapsed", "Epoch 3: collapsed, all distances under 0.05"),
        ("perfect", "Epoch 3: same and different pairs are clearly separated"),
    ],
)
def test_the_title_says_what_is_seen(kind, words):
    assert words in texts(epoch_plot(kind))


def test_a_peak_that_the_range_cuts_is_labelled_with_its_height():
    assert "▲ same: up to 50 | ▲ different: up to 50" in texts(epoch_plot("collapsed"))
    assert "up to" not in texts(epoch_plot("healthy"))


def test_figures_and_run_stand_in_the_plot():
    found = texts(epoch_plot("healthy", run="my $run$_1"))
    for words in ("IOU 0.0", "AUC 0.9", "my $run$_1", "same (300 pairs)", "different (300 pairs)", "threshold 1."):
        assert words in found


def test_a_long_name_is_cut_at_the_edge_of_the_figure():
    figure = epoch_plot("healthy", run="long-name-" * 40)
    width = figure.get_size_inches()[0] * figure.dpi
    assert "…" in texts(figure)
    assert all(text.get_window_extent().x1 <= width for text in figure.texts)


# ---- iou.png ----


def test_the_best_epoch_is_marked():
    figure = iou_figure([1, 2, 3, 4], [0.6, 0.3, 0.2, 0.4], [0.1] * 4, run="run", best_epoch=3)
    stars = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in stars] == [(3, 0.2)]
    assert "Lowest IOU: 0.200 at epoch 3 of 4" in texts(figure)
    assert not [
        line
        for line in iou_figure([1], [0.5], [0.1], run="", best_epoch=None).axes[0].lines
        if line.get_marker() == "*"
    ]


@pytest.mark.parametrize(("highest", "top"), [(1.0, 1), (0.51, 1), (0.45, 0.5), (0.15, 0.2), (0.0, 0.1)])
def test_iou_axis_has_round_ends(highest, top):
    axes = iou_figure([1, 2], [highest, 0.0], [0.1, 0.1], run="run", best_epoch=2).axes[0]
    assert axes.get_ylim() == (0, top)


def test_an_epoch_without_a_value_leaves_a_gap():
    line = iou_figure([1, 2, 3], [0.5, None, 0.4], [0.1] * 3, run="run", best_epoch=3).axes[0].lines[0]
    assert np.isnan(line.get_ydata()[1])


@pytest.mark.parametrize("epochs", [1, 3, 100])
def test_epoch_ticks_are_whole_epochs_of_the_run(epochs):
    numbers = list(range(1, epochs + 1))
    figure = iou_figure(numbers, [0.5] * epochs, [0.1] * epochs, run="run", best_epoch=1)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks and all(tick == int(tick) and 1 <= tick <= epochs + 1 for tick in ticks)


# ---- train_loss.png ----


def marked_steps(rates: list[float]) -> list[float]:
    epochs = list(range(1, len(rates) + 1))
    lower = train_loss_figure(epochs, [1.0] * len(rates), rates, run="run").axes[1]
    return [line.get_xdata()[0] for line in lower.lines if len(line.get_xdata()) == 2 and line.get_xdata()[0] % 1]


def test_steps_of_the_rate_are_marked():
    assert marked_steps([0.1, 0.1, 0.01, 0.01, 0.001, 0.001]) == [2.5, 4.5]
    assert marked_steps([0.1, 0.01, 0.01]) == [1.5]


def test_smooth_schedules_and_warm_up_have_no_steps():
    assert marked_steps((0.05 * (1 + np.cos(np.arange(30) / 29 * np.pi))).tolist()) == []
    assert marked_steps([0.02, 0.06, 0.1, 0.1]) == []
    assert marked_steps((0.05 * 0.7 ** np.arange(20)).tolist()) == []


def test_steps_of_the_rate_are_marked_in_the_iou_too():
    rates = [0.1, 0.1, 0.01, 0.01]
    axes = iou_figure([1, 2, 3, 4], [0.6, 0.3, 0.2, 0.4], rates, run="run", best_epoch=3).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_label() == "lr step"] == [2.5]
    assert [text.get_text() for text in axes.texts if text.get_position()[0] == 2.5] == ["lr step"]


def test_two_epochs_of_a_smooth_schedule_have_no_step():
    assert marked_steps([5e-4, 1e-8]) == []


def test_distances_of_each_condition_stand_on_the_same_axes():
    distances, same = made_up("healthy")
    condition = CONDITIONS[np.arange(600) % 3]
    figure = conditions_figure(distances, same, condition, run="run", threshold=1.2)
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "same", "different", "overlap", "threshold",
    ]  # fmt: skip
    titles = [axes.get_title(loc="left").split("   ")[0] for axes in figure.axes]
    assert titles == ["plain-plain", "plain-masked", "masked-masked"]
    alone = conditions_figure(distances, same, np.full(600, "all"), run="run", threshold=1.2)
    assert len(alone.axes) == 1 and "all pairs" in alone.axes[0].get_title(loc="left")


def test_loss_and_rate_are_drawn_and_the_loss_starts_at_zero():
    figure = train_loss_figure([1, 2, 3], [20.0, 10.0, 5.0], [0.1, 0.1, 0.01], run="run")
    upper, lower = figure.axes
    assert upper.lines[-1].get_ydata().tolist() == [20, 10, 5]
    assert upper.get_ylim()[0] == 0 and upper.get_ylim()[1] > 20
    assert lower.lines[-1].get_ydata().tolist() == [0.1, 0.1, 0.01]
    assert lower.get_yscale() == "log"
    assert "Training loss 20 to 5 in 3 epochs" in texts(figure)


def test_a_loss_that_is_not_finite_does_not_break_the_plot(tmp_path):
    path = tmp_path / "train_loss.png"
    plot_train_loss(path, [1, 2], [float("nan"), 3.0], [0.0, 0.0], run="run")
    assert imread(path).shape == (840, 1200, 4)


# ---- lengths.png ----


def test_lengths_of_plain_and_masked_faces_stand_beside_each_other():
    history = [{"epoch": e, "length_plain": 20.0 + e, "length_masked": 11.0} for e in (1, 2)]
    figure = lengths_figure(history, run="run")
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[21, 22], [11, 11]]
    assert "Masked faces: 0.50 times the length of plain ones" in texts(figure)


# ---- test_result.png ----


def result_plot(kind: str, condition: np.ndarray | None = None):
    distances, same = made_up(kind)
    condition = CONDITIONS[np.arange(600) % 3] if condition is None else condition
    found = figures(distances, same, condition, best_threshold(distances, same))
    return result_figure(distances, same, found, run="run", threshold_source="the evaluation pairs"), found


def test_the_test_result_can_be_read_by_itself():
    figure, found = result_plot("healthy")
    text = texts(figure)
    distances, same = made_up("healthy")
    right = int((distances[same] <= found["threshold"]).sum())
    assert f"Test: {found['accuracy'] * 100:.2f} % of 600 pairs classified correctly" in text
    assert f"threshold {found['threshold']:.3f}, chosen on the evaluation pairs" in text
    for words in (f"{right}", f"{300 - right}", f"{right / 3:.1f} %", f"AUC {found['auc']:.4f}"):
        assert words in text
    for name in CONDITIONS:
        assert f"{name}\n200 pairs" in text
        assert f"{found['by_condition'][name]['accuracy'] * 100:.2f} %" in text


@pytest.mark.parametrize("kind", ["collapsed", "perfect", "all zero"])
def test_extreme_results_are_drawn(kind):
    figure, found = result_plot(kind)
    figure.canvas.draw()
    assert f"Test: {found['accuracy'] * 100:.2f} %" in texts(figure)


def test_intervals_stand_beside_the_accuracies_that_have_one():
    one = np.arange(600) % 20
    people = np.stack([one, np.where(np.arange(600) < 300, one, (one + 1) % 20)], axis=1)
    for kind, shown in (("healthy", True), ("perfect", False)):
        distances, same = made_up(kind)
        found = figures(distances, same, np.full(600, "all"), 1.0, people=people)
        text = texts(result_figure(distances, same, found, run="run", threshold_source="x"))
        assert bool(re.search(r"\d\d\.\d–\d\d\.\d", text)) is shown
        if shown:
            low, high = (100 * end for end in found["intervals"]["accuracy"])
            assert f"{low:.1f}–{high:.1f}" in text
        assert "95 % intervals over people" in text


def test_accuracy_below_chance_widens_the_axis():
    same = np.arange(40) < 20
    found = figures(np.where(same, 1.5, 0.5), same, np.full(40, "plain-plain"), 1.0)
    figure = result_figure(np.where(same, 1.5, 0.5), same, found, run="run", threshold_source="x")
    assert figure.axes[2].get_xlim() == (0, 1)


# ---- files ----


def test_all_plots_are_whole_png_files_and_leave_nothing_else(tmp_path):
    distances, same = made_up("healthy")
    found = figures(distances, same, CONDITIONS[np.arange(600) % 3], 1.2)
    chosen = {"threshold": 1.2, "iou": found["iou"], "auc": found["auc"]}
    before = dict(matplotlib.rcParams)
    plot_distribution(tmp_path / "distribution_epoch1.png", distances, same, run="r", epoch=1, **chosen)
    plot_iou(tmp_path / "iou.png", range(1, 101), np.linspace(0.9, 0.1, 100), [0.1] * 100, run="r", best_epoch=100)
    plot_train_loss(tmp_path / "train_loss.png", [1], [3.0], [0.1], run="r")
    plot_test_result(tmp_path / "test_result.png", distances, same, found, run="r", threshold_source="x")
    sizes = {path.name: imread(path).shape[:2] for path in tmp_path.iterdir()}
    assert sizes == {
        "distribution_epoch1.png": (810, 1200),
        "iou.png": (750, 1200),
        "train_loss.png": (840, 1200),
        "test_result.png": (1200, 1800),
    }
    assert dict(matplotlib.rcParams) == before


def test_a_plot_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "iou.png"
    path.write_bytes(b"old")

    def half_written(self, target, **options):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", half_written)
    with pytest.raises(OSError, match="disk full"):
        plot_iou(path, [1], [0.5], [0.1], run="r", best_epoch=1)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
