"""python -m eval.benchmark: the lines before the work, the JSON and the page after it."""

import dataclasses
import json

import numpy as np
import pytest

from eval.benchmark.__main__ import BenchmarkSettings, benchmark
from eval.benchmark.contract import AS_LISTED, MASKED_MASKED, PLAIN, TEN_FOLDS, Figure, Result
from eval.benchmark.outputs import figure_text, results_table
from eval.benchmark.published import published_beside
from eval.benchmark.sets.find import find_sets
from tests.one_line import one_line
from tests.pair_sets import faces, meant_pairs, write_bin, write_csv
from tests.small_run import write_small_run

IMAGES, PAIRS = faces(), meant_pairs()


@pytest.fixture
def settings(tmp_path) -> BenchmarkSettings:
    run = write_small_run(tmp_path / "run")
    write_bin(tmp_path / "sets" / "lfw.bin", IMAGES, PAIRS)
    return BenchmarkSettings(str(run), tmp_path / "sets", twins="none", jobs=1, device="cpu")


def test_it_says_what_it_found_and_writes_all_figures(settings, capsys):
    (result,) = benchmark(settings)
    said = capsys.readouterr().out
    assert said.startswith("lfw: InsightFace .bin: 40 pairs of 80 pictures, in its own ten folds\n    about ")
    folder = settings.sets.parent / "run" / "benchmark"
    saved = json.loads((folder / "benchmark.json").read_text())
    (row,) = saved["results"]
    assert (row["set"], row["condition"], row["protocol"]) == ("lfw", PLAIN, TEN_FOLDS)
    assert row["official"] == [dataclasses.asdict(figure) for figure in result.official]
    assert len(row["details"]["folds"]["accuracies"]) == 10
    page = (folder / "benchmark.html").read_text()
    assert figure_text(result.official[0]) in page and "This project" in page and page.count("<img") == 2


def test_a_set_that_cannot_be_evaluated_is_named_and_passed_over(settings, capsys):
    write_bin(settings.sets / "cfp_fp.bin", IMAGES[:, :, :-8], PAIRS)  # no square, so no aligned face
    results = benchmark(settings)
    assert [result.set for result in results] == ["lfw"]
    assert "cfp_fp is passed over: cfp_fp: not one of its 40 pairs has two faces" in capsys.readouterr().out
    page = (settings.sets.parent / "run" / "benchmark" / "benchmark.html").read_text()
    assert "Sets that were passed over" in page
    only = dataclasses.replace(settings, only=("cfp_fp",))
    assert "no set could be evaluated" in one_line(lambda: benchmark(only))


def test_only_the_named_sets(settings):
    write_csv(settings.sets / "mine.csv", IMAGES, PAIRS)
    assert [found.name for found in find_sets(settings.sets)] == ["lfw", "mine"]
    assert [found.name for found in find_sets(settings.sets, ("lfw",))] == ["lfw"]


def result(**changed) -> Result:
    values = {"set": "mlfw", "condition": AS_LISTED, "protocol": TEN_FOLDS, "official": [Figure("accuracy", 0.9, 0.01)]}
    values |= {
        "own": [],
        "intervals_over": "",
        "alignment": "",
        "faces": 4,
        "lost_faces": 0,
        "pairs": 2,
        "lost_pairs": 0,
    }
    return Result(**values | changed)


def test_papers_stand_beside_the_same_set_and_protocol_alone():
    beside = published_beside(result())
    assert [figure.value for figure in beside] == [0.8595, 0.9057, 0.9043, 0.9157]
    assert all(figure.source == "arXiv:2109.05804" for figure in beside)
    others = ({"set": "lfw"}, {"condition": MASKED_MASKED}, {"protocol": "other"}, {"not_comparable": "1 is missing"})
    assert all(not published_beside(result(**other)) for other in others)


def test_the_table_says_which_figures_are_whose():
    own = [Figure("10-fold accuracy", 0.8, 0.02, [0.7, 0.9]), Figure("AUC", 0.9)]
    other = result(protocol="IJB 1:1 N1D1F1", official=[Figure("TAR at FAR 1e-4", 0.5)], set="ijbc")
    again = dataclasses.replace(other, protocol="IJB 1:1 N0D0F1", not_comparable="half of it is missing")
    text = results_table([result(own=own), other, again])
    assert "accuracy, as published" in text and "90.00 % ± 1.00" in text
    assert "10-fold accuracy, own" in text and "80.00 % ± 2.00 (70.0–90.0)" in text and "AUC" not in text
    assert "as listed, N1D1F1 " in text and "as listed, N0D0F1 *" in text
    assert "over people if they are known, otherwise over pairs" in text


def test_a_figure_without_a_value_is_a_dash():
    assert figure_text(Figure("accuracy", None)) == "–"
    assert figure_text(Figure("accuracy", np.float64(0.5))) == "50.00 %"
