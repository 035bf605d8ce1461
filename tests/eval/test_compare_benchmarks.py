"""python -m eval.compare on benchmarks: only what is the same stands in one row."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from eval.benchmark.contract import Figure, Result
from eval.benchmark.outputs import to_plain
from eval.compare.__main__ import CompareSettings, compare
from tests.one_line import one_line

PLAIN = Result(
    set="lfw",
    condition="plain-plain",
    protocol="10 folds",
    official=[Figure("accuracy", 0.99, 0.004)],
    own=[Figure("EER", 0.01, interval=[0.005, 0.02])],
    intervals_over="people",
    alignment="",
    faces=10,
    lost_faces=0,
    pairs=20,
    lost_pairs=0,
)
MASKED = dataclasses.replace(
    PLAIN,
    condition="masked-masked",
    masks="before alignment",
    official=[Figure("accuracy", 0.95, 0.01)],
    own=[],
    details={"seed": 0, "masks": {"parameters": "abcdef0123456789", "landmarks": "0"}},
)


def write(folder: Path, *results: Result) -> Path:
    folder.mkdir(parents=True)
    (folder / "benchmark.json").write_text(json.dumps({"results": [to_plain(result) for result in results]}))
    return folder


def lower(result: Result, **changed) -> Result:
    return dataclasses.replace(result, official=[Figure("accuracy", 0.97, 0.004)], **changed)


def rows(out: Path) -> dict[tuple, list[str]]:
    frame = pd.read_csv(out / "benchmarks.csv")
    return {(r["set"], r["condition"], r["figure"]): r.iloc[6:].tolist() for _, r in frame.iterrows()}


def test_models_stand_beside_each_other(tmp_path):
    one = write(tmp_path / "one" / "benchmark", PLAIN, MASKED)
    two = write(tmp_path / "two" / "benchmark", lower(PLAIN, not_comparable="1 pair is missing"), lower(MASKED))
    said = compare(CompareSettings((one, two / "benchmark.json"), tmp_path / "out"))
    assert said[0] == "lfw, plain–plain: one 99.00 %, two 97.00 %."
    assert rows(tmp_path / "out") == {
        ("lfw", "plain–plain", "accuracy"): ["99.00 % ± 0.40", "97.00 % ± 0.40 *"],
        ("lfw", "plain–plain", "EER"): ["1.00 % (0.5–2.0)", "1.00 % (0.5–2.0) *"],
        ("lfw", "masked–masked, mask first", "accuracy"): ["95.00 % ± 1.00", "97.00 % ± 0.40"],
    }
    page = (tmp_path / "out" / "benchmarks.html").read_text()
    assert "one, two" in page and page.count("<img") == 2


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "other"},
        {"masks": "after alignment"},
        {"details": {**MASKED.details, "seed": 1}},
        {"details": {"seed": 0, "masks": {"parameters": "another"}}},
    ],
)
def test_other_protocols_and_other_masks_have_rows_of_their_own(tmp_path, change):
    one = write(tmp_path / "one", PLAIN, MASKED)
    two = write(tmp_path / "two", PLAIN, lower(MASKED, **change))
    compare(CompareSettings((one, two), tmp_path / "out"))
    assert {condition for _, condition, _ in rows(tmp_path / "out")} == {"plain–plain"}


def test_what_cannot_be_compared_is_refused(tmp_path):
    one = write(tmp_path / "one", PLAIN)
    other = write(tmp_path / "other", dataclasses.replace(PLAIN, set="agedb_30"))
    broken = write(tmp_path / "broken")
    (broken / "benchmark.json").write_text('{"results": [{"set": 1}]}')
    (tmp_path / "run").mkdir()
    out = tmp_path / "out"
    for places, words in (
        ((one,), "two benchmarks or more"),
        ((one, one / "benchmark.json"), "each once"),
        ((one, other), "share no set"),
        ((one, broken), "lacks condition"),
        ((one, tmp_path / "run"), "can't be read"),
    ):
        assert words in one_line(lambda places=places: compare(CompareSettings(places, out))), words
    assert not out.exists()
