"""python -m eval.compare on run folders whose order is known."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from configs import parse_settings
from eval.compare.__main__ import CompareSettings, compare
from eval.compare.seeds import group_by_settings
from eval.metrics.figures import figures
from eval.plots.comparison import curves_figure
from main_arcface import SETTINGS
from runtime.errors import InputError

PAIRS = 600


def write_run(folder: Path, noise: float, draw: int = 0, pairs: int = PAIRS, test_pairs: bool = True, **settings):
    """A tested run: the more ``noise``, the more errors; ``draw`` is the luck of its training, the pairs are fixed."""
    rng, luck = np.random.default_rng(7), np.random.default_rng(draw)
    same = np.arange(pairs) % 2 == 0
    one = rng.integers(40, size=pairs)
    other = np.where(same, one, (one + rng.integers(1, 40, pairs)) % 40)
    hard = rng.normal(0, 0.2, pairs)
    distances = np.clip(np.where(same, 0.7, 1.3) + hard + noise * luck.normal(size=pairs), 0, 2).round(5)
    condition = np.array(["plain-plain", "masked-masked"])[rng.integers(2, size=pairs)]
    found = figures(distances, same, condition, 1.0, people=np.stack([one, other], axis=1))
    folder.mkdir(parents=True)
    config = {
        "settings": {"backbone": "b", "lr": 0.1, "run_name": folder.name, "seed": 0, **settings},
        "started": "now",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps({**found, "epoch": 2}))
    log = [{"epoch": epoch, "iou": noise / epoch, "loss": 3 / epoch, "lr": 0.1} for epoch in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    if test_pairs:
        columns = {"path": [f"{i}a" for i in range(pairs)], "pair_path": [f"{i}b" for i in range(pairs)]}
        columns |= {"same": same.astype(int), "condition": condition, "person": one, "pair_person": other}
        order = luck.permutation(pairs)  # runs may list their pairs in any order
        pd.DataFrame({**columns, "distance": distances}).iloc[order].to_csv(folder / "test_pairs.csv", index=False)
    return found


def test_the_better_of_two_runs_is_named_with_its_evidence(tmp_path):
    good = write_run(tmp_path / "good", 0.05)
    bad = write_run(tmp_path / "bad", 0.5, lr=0.2)
    out = tmp_path / "out"
    words = compare(CompareSettings((tmp_path / "bad", tmp_path / "good"), out))
    points = (good["accuracy"] - bad["accuracy"]) * 100
    assert words[1].startswith(f"good is better than bad by {points:.2f} points (95 % interval ")
    assert words[1].endswith("more than chance.")
    assert {path.name for path in out.iterdir()} == {
        "compare.html", "compare.csv", "significance.csv", "iou.png", "train_loss.png", "roc.png",
    }  # fmt: skip
    tests = pd.read_csv(out / "significance.csv").set_index(["pairs", "figure"])
    row = tests.loc[("all pairs", "accuracy")]
    assert row["difference"] == pytest.approx(-points / 100)
    assert row["low"] < -points / 100 < row["high"] < 0
    assert row["only_second_right"] - row["only_first_right"] == pytest.approx(points / 100 * PAIRS)
    counts = int(row["only_first_right"]), int(row["only_second_right"])
    assert row["mcnemar_p"] == pytest.approx(binomtest(counts[0], sum(counts)).pvalue)
    assert {"plain-plain", "masked-masked"} <= set(tests.index.get_level_values("pairs"))
    page = (out / "compare.html").read_text()
    assert words[1] in page and "Settings that differ" in page and "://" not in page
    table = pd.read_csv(out / "compare.csv").set_index(["model", "pairs", "figure"])
    assert table.loc[("good", "all pairs", "accuracy"), "mean"] == pytest.approx(good["accuracy"])


def test_runs_that_differ_by_luck_alone_are_not_told_apart(tmp_path):
    write_run(tmp_path / "a", 0.3, draw=1)
    write_run(tmp_path / "b", 0.3, draw=2, lr=0.2)
    words = compare(CompareSettings((tmp_path / "a", tmp_path / "b"), tmp_path / "out"))
    assert words[1].endswith("this may be chance.")
    assert "another seed" in words[2]


def test_seeds_of_a_model_become_mean_and_standard_deviation(tmp_path):
    accuracies = [write_run(tmp_path / f"net_s{seed}", 0.3, draw=seed, seed=seed)["accuracy"] for seed in range(3)]
    write_run(tmp_path / "other", 0.1, lr=0.2)
    runs = (*(tmp_path / f"net_s{seed}" for seed in range(3)), tmp_path / "other")
    words = compare(CompareSettings(runs, tmp_path / "out"))
    page = (tmp_path / "out" / "compare.html").read_text()
    assert ">net minus other<" in page and '<th scope="row">lr<' in page and '<th scope="row">seed<' not in page
    table = pd.read_csv(tmp_path / "out" / "compare.csv").set_index(["model", "pairs", "figure"])
    row = table.loc[("net", "all pairs", "accuracy")]
    assert (row["runs"], row["mean"]) == (3, pytest.approx(np.mean(accuracies)))
    assert row["std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert pd.isna(table.loc[("other", "all pairs", "accuracy"), "std"])
    assert words[1].startswith("other is better than net by")
    tests = pd.read_csv(tmp_path / "out" / "significance.csv")
    assert tests["mcnemar_p"].isna().all()  # it is for two single runs
    assert f"{np.mean(accuracies) * 100:.2f} % ± {np.std(accuracies, ddof=1) * 100:.2f}" in page


def test_seeds_of_a_model_are_drawn_alike_under_one_name():
    runs = [([1, 2], [0.5, 0.4]), ([1, 2], [0.6, None])]
    figure = curves_figure({"net": runs, "other": runs[:1]}, title="t", subtitle="s", label="IOU")
    looks = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines]
    assert looks[0] == looks[1] != looks[2]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["net", "other"]


def test_only_shared_pairs_are_compared(tmp_path):
    write_run(tmp_path / "a", 0.1)
    write_run(tmp_path / "b", 0.1, lr=0.2)
    frame = pd.read_csv(tmp_path / "b" / "test_pairs.csv")
    frame.iloc[:500].to_csv(tmp_path / "b" / "test_pairs.csv", index=False)
    compare(CompareSettings((tmp_path / "a", tmp_path / "b"), tmp_path / "out"))
    assert "500 test pairs that all runs share" in (tmp_path / "out" / "compare.html").read_text()


def test_runs_that_number_their_people_otherwise_are_paired_all_the_same(tmp_path):
    """A list in another order numbers its people anew: resamples of other people would hide any difference."""
    write_run(tmp_path / "a", 0.1)
    write_run(tmp_path / "b", 0.15, draw=1, lr=0.2)
    compare(CompareSettings((tmp_path / "a", tmp_path / "b"), tmp_path / "before"))
    frame = pd.read_csv(tmp_path / "b" / "test_pairs.csv")
    anew = np.random.default_rng(3).permutation(40)
    frame[["person", "pair_person"]] = anew[frame[["person", "pair_person"]]]
    frame.to_csv(tmp_path / "b" / "test_pairs.csv", index=False)
    compare(CompareSettings((tmp_path / "a", tmp_path / "b"), tmp_path / "after"))
    before, after = (pd.read_csv(tmp_path / out / "significance.csv") for out in ("before", "after"))
    pd.testing.assert_frame_equal(before, after)


def test_same_pairs_of_one_person_alone_give_a_difference_and_no_word_on_chance(tmp_path):
    """Ten people and more, as the different pairs have them, but no resample without the one of the same pairs."""
    accuracy = {}
    for name, noise in (("a", 0.3), ("b", 0.05), ("c", 0.5)):
        accuracy[name] = write_run(tmp_path / name, noise, pairs=200, lr=noise)["accuracy"] * 100
        frame = pd.read_csv(tmp_path / name / "test_pairs.csv")
        frame.loc[frame["same"].eq(1), ["person", "pair_person"]] = 0
        frame.to_csv(tmp_path / name / "test_pairs.csv", index=False)
    said = compare(CompareSettings(tuple(tmp_path / name for name in "abc"), tmp_path / "out"))
    for line, (better, worse) in zip(said[1:], ("ba", "ac", "bc"), strict=False):
        points = accuracy[better] - accuracy[worse]
        assert line.startswith(f"{better} is ahead of {worse} by {points:.2f} points. Whether this is chance can't be")
    assert not any("one in twenty" in line for line in said), "nothing was tested"
    tests = pd.read_csv(tmp_path / "out" / "significance.csv").set_index(["first", "second", "pairs", "figure"])
    row = tests.loc[("a", "b", "all pairs", "accuracy")]
    assert row["difference"] == pytest.approx((accuracy["a"] - accuracy["b"]) / 100)
    assert row[["low", "high", "p"]].isna().all()
    page = re.sub(r"data:[^\"]+", "", (tmp_path / "out" / "compare.html").read_text())
    assert said[1].split(".")[0] in page and not re.search(r"\bnan\b", page)


@pytest.mark.parametrize("why", ["no file", "other pairs"])
def test_without_shared_pairs_there_is_a_table_and_no_test(tmp_path, why):
    write_run(tmp_path / "a", 0.1)
    write_run(tmp_path / "b", 0.4, test_pairs=why != "no file", lr=0.2)
    if why == "other pairs":
        frame = pd.read_csv(tmp_path / "b" / "test_pairs.csv")
        frame.assign(path="elsewhere/" + frame["path"]).to_csv(tmp_path / "b" / "test_pairs.csv", index=False)
    words = compare(CompareSettings((tmp_path / "a", tmp_path / "b"), tmp_path / "out"))
    assert words[0].startswith("Test accuracy: a ") and "can't be said" in words[1]
    assert not (tmp_path / "out" / "roc.png").exists()


def test_one_run_an_untested_run_and_the_same_run_twice_are_said(tmp_path):
    write_run(tmp_path / "a", 0.1)
    (tmp_path / "b").mkdir()
    for runs, words in ((["a"], "two run folders or more"), (["a", "b"], "no config.json"), (["a", "a"], "twice")):
        with pytest.raises(InputError, match=words):
            compare(CompareSettings(tuple(tmp_path / run for run in runs), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_runs_are_one_model_where_only_seed_and_name_differ():
    runs = {
        "net_seed0": {"lr": 0.1, "seed": 0, "run_name": "net_seed0", "workers": 0},
        "net_seed1": {"lr": 0.1, "seed": 1, "run_name": "net_seed1", "workers": 4},
        "net_lr": {"lr": 0.2, "seed": 0, "run_name": "net_lr", "workers": 0},
        "x": {"lr": 0.3, "seed": 0},
        "y": {"lr": 0.3, "seed": 1},
    }
    assert group_by_settings(runs) == {"net": ["net_seed0", "net_seed1"], "net_lr": ["net_lr"], "x": ["x", "y"]}


def test_a_seed_of_before_a_setting_was_added_is_a_seed_of_the_same_model():
    new = {"lr": 0.1, "freeze": [], "least_images": 0, "measure_least_face": True}
    runs = {"net_s0": {"seed": 0, **new}, "net_s1": {"seed": 1, "lr": 0.1}, "frozen": {**new, "freeze": ["stem"]}}
    assert group_by_settings(runs) == {"net": ["net_s0", "net_s1"], "frozen": ["frozen"]}


@pytest.mark.parametrize(
    "options",
    [
        ["--device", "cuda", "--gpus", "1"],
        ["--device", "cuda", "--compile", "--cuda-graphs"],
        ["--activation-checkpointing"],
        ["--deterministic"],
    ],
)
def test_seeds_of_two_machines_are_seeds_of_one_model(options):
    first, second = (
        parse_settings(SETTINGS, "", ["--seed", str(seed), "--run-name", f"net_s{seed}", *words]).to_dict()
        for seed, words in enumerate((["--device", "cpu"], options))
    )
    assert group_by_settings({"net_s0": first, "net_s1": second}) == {"net": ["net_s0", "net_s1"]}
    other = {**second, "precision": "bf16"}  # what a number is rounded to is asked of a model, too
    assert len(group_by_settings({"net_s0": first, "net_s1": other})) == 2
