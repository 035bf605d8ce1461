"""Shares of errors removed, against counting by hand."""

import dataclasses
import json

import numpy as np
import pytest

from eval.finished_run import read_pair_file
from runtime.errors import InputError
from study.answers import ArmRuns, errors_removed, write_answer
from study.distances import write_distances
from tests.study.tested_runs import run_with_errors, write_config, write_tested_run


def test_the_share_is_that_of_the_errors_counted():
    before = run_with_errors({"plain-plain": {0, 1}, "masked-masked": set(range(10))})
    seeds = [
        run_with_errors({"plain-plain": {0, 1, 2}, "masked-masked": {0, 1}}),
        run_with_errors({"plain-plain": {0}, "masked-masked": {3, 4, 20, 21}}),
    ]
    found = errors_removed(seeds, before)
    assert found["plain-plain"]["seeds"] == [pytest.approx(-0.5), pytest.approx(0.5)]
    assert found["masked-masked"]["seeds"] == [pytest.approx(0.8), pytest.approx(0.6)]
    assert found["all pairs"]["seeds"] == [pytest.approx(7 / 12), pytest.approx(7 / 12)]
    assert found["masked-masked"]["mean"] == pytest.approx(0.7)
    low, high = found["masked-masked"]["interval"]
    assert low < 0.7 < high


def test_nothing_removed_and_all_removed_have_no_width():
    before = run_with_errors({"plain-plain": set(), "masked-masked": set(range(12))})
    perfect = run_with_errors({"plain-plain": set(), "masked-masked": set()})
    same, none = errors_removed([before], before), errors_removed([perfect], before)
    assert same["masked-masked"] == {"seeds": [0.0], "mean": 0.0, "interval": [0.0, 0.0]}
    assert none["masked-masked"] == {"seeds": [1.0], "mean": 1.0, "interval": [1.0, 1.0]}
    assert "plain-plain" not in none  # no error to remove


def test_the_interval_is_paired_over_people():
    """Half of the errors removed, evenly over people: hard people weigh on both, so that the share moves less than
    the errors do."""
    before = run_with_errors({"plain-plain": {0}, "masked-masked": set(range(20))})
    half = run_with_errors({"plain-plain": {0}, "masked-masked": set(range(0, 20, 2))})
    low, high = errors_removed([half], before)["masked-masked"]["interval"]
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(2000):
        drawn = np.bincount(rng.integers(40, size=40), minlength=40)
        shares.append(1 - drawn[0:20:2].sum() / drawn[:20].sum())
    assert (low, high) == pytest.approx(np.percentile(shares, [2.5, 97.5]), abs=0.03)


def test_pairs_without_a_condition_still_have_a_share_over_all():
    before = run_with_errors({"plain-plain": {0, 1}, "masked-masked": {5, 6}})
    unknown = dataclasses.replace(before, pairs=before.pairs.assign(condition="all"))
    assert errors_removed([unknown], unknown)["all pairs"]["mean"] == 0


@pytest.fixture
def untouched(tmp_path):
    return write_tested_run(tmp_path / "weights", wrong={(half, "masked-masked"): set(range(10)) for half in (0, 1)})


def _answer(tmp_path, arms, untouched, chosen=None):
    write_answer(tmp_path / "answer.json", "Which?", arms, untouched, chosen)
    return json.loads((tmp_path / "answer.json").read_text())


def test_each_half_is_reported_with_what_the_other_half_chose(tmp_path, untouched):
    """``one`` errs on the half that chose it alone, ``two`` likewise: where they were not chosen they are perfect but
    for a person each."""
    many = set(range(8))
    of_first = {(0, "masked-masked"): many, (1, "masked-masked"): {3}}
    of_second = {(0, "masked-masked"): {5}, (1, "masked-masked"): many}
    one = write_tested_run(tmp_path / "one_s0", wrong=of_first, threshold=0.7, iou=(0.1, 0.3))
    two = write_tested_run(tmp_path / "two_s0", wrong=of_second, threshold=1.3, iou=(0.3, 0.2))
    answer = _answer(tmp_path, [ArmRuns("one", [one]), ArmRuns("two", [two])], untouched, ("one", "two"))
    assert answer["lowest_iou"] == ["one", "two"]
    assert answer["chosen"]["arms"] == ["one", "two"]
    assert answer["chosen"]["accuracy"]["masked-masked"] == [pytest.approx(1 - 2 / 160)]
    assert answer["chosen"]["errors_removed"]["masked-masked"]["mean"] == pytest.approx(1 - 2 / 20)
    assert answer["arms"][0]["errors_removed"]["masked-masked"]["mean"] == pytest.approx(1 - 9 / 20)


def test_chosen_arms_are_compared_by_the_seeds_that_both_have(tmp_path, untouched):
    """A seed of one may have collapsed, and --only may leave one out."""
    wrong = {(half, "masked-masked"): set(range(8)) for half in (0, 1)}
    one = [write_tested_run(tmp_path / f"one_s{seed}", wrong=wrong if seed == 1 else {}, seed=seed) for seed in (0, 1)]
    two = [write_tested_run(tmp_path / f"two_s{seed}", wrong=wrong if seed == 1 else {}, seed=seed) for seed in (1, 2)]
    both = _answer(tmp_path, [ArmRuns("one", one), ArmRuns("two", two)], untouched, ("one", "two"))
    assert both["chosen"]["arms"] == ["one", "two"]
    assert both["chosen"]["errors_removed"]["masked-masked"]["seeds"] == [pytest.approx(1 - 16 / 20)]  # those of seed 1
    assert _answer(tmp_path, [ArmRuns("one", one)], untouched, ("one", "two"))["chosen"] is None
    apart = [ArmRuns("one", one[:1]), ArmRuns("two", two)]
    assert _answer(tmp_path, apart, untouched, ("one", "two"))["chosen"] is None


def test_an_answer_of_runs_that_all_collapsed_is_refused(tmp_path, untouched):
    with pytest.raises(InputError, match="answer: all runs collapsed in their first epoch, so there is nothing to"):
        _answer(tmp_path, [ArmRuns("all", [], [tmp_path / "all_s0"])], untouched)


def test_seeds_that_collapsed_before_they_had_an_epoch_are_counted(tmp_path, untouched):
    one = write_tested_run(tmp_path / "some_s0", wrong={})
    collapsed = [tmp_path / name for name in ("some_s1", "all_s0", "all_s1")]
    for seed, folder in zip((1, 0, 1), collapsed, strict=True):
        folder.mkdir()
        write_config(folder, seed, "the embeddings have collapsed")
    answer = _answer(tmp_path, [ArmRuns("some", [one], collapsed[:1]), ArmRuns("all", [], collapsed[1:])], untouched)
    some, every = answer["arms"]
    assert (some["seeds"], some["collapsed"]) == ([0, 1], [None, "the embeddings have collapsed"])
    assert (every["seeds"], every["accuracy"], every["minutes"]) == ([0, 1], {}, [])
    assert some["minutes"] == [1] and some["hardware"] == ["a CPU, 2 threads"]
    assert answer["chosen"] is None


def test_a_run_of_which_only_the_published_files_are_left_gives_the_same_answer(tmp_path, untouched):
    """So that a table can get another arm without the earlier runs."""
    some, more = ({(half, "masked-masked"): set(range(most)) for half in (0, 1)} for most in (4, 7))
    one, two = write_tested_run(tmp_path / "one_s0", wrong=some), write_tested_run(tmp_path / "two_s0", wrong=more)
    whole = _answer(tmp_path, [ArmRuns("one", [one]), ArmRuns("two", [two])], untouched)
    write_distances(one, *(read_pair_file(folder, "two_folds.csv") for folder in (one, untouched)))
    for name in ("two_folds.csv", "metrics.json"):
        (one / name).unlink()
    assert _answer(tmp_path, [ArmRuns("one", [one]), ArmRuns("two", [two])], untouched) == whole
