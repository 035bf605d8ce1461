"""Halves that are not apart are refused; what two folds report is held against whole runs in tests/test_scripts.py."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from data.tables.pair_csv import read_pair_csvs
from eval.two_folds.halves import TwoFoldSettings, two_folds
from runtime.errors import InputError
from runtime.run_folder import RunFolder
from tests.small_run import write_small_run


@pytest.fixture
def run(tmp_path):
    folder = write_small_run(tmp_path / "run")
    RunFolder(folder).write_config({"run_name": "run"})
    return folder


def halves_of(run, root, first: pd.DataFrame, second: pd.DataFrame, flat: bool) -> None:
    """Two folds on two CSVs; ``flat``: the faces lie in one folder, so that the target alone has the name."""
    for name, frame in (("first", first), ("second", second)):
        frame = frame.copy()
        for column in ("path", "pair_path") if flat else ():
            for path in frame[column]:
                (root / "flat").mkdir(exist_ok=True)
                (root / "flat" / path.replace("/", "_")).write_bytes((root / path).read_bytes())
            frame[column] = "flat/" + frame[column].str.replace("/", "_")
        frame.to_csv(root / f"{name}.csv", index=False)
    settings = TwoFoldSettings(run, root=root, first=("first.csv",), second=("second.csv",), device="cpu")
    two_folds(settings)


@pytest.fixture
def pairs(drawn_faces, tmp_path):
    """A copy of the faces, and the test pairs."""
    root = shutil.copytree(drawn_faces, tmp_path / "faces")
    return root, pd.read_csv(root / "test.csv")


@pytest.mark.parametrize("flat", [False, True])
def test_a_person_in_both_halves_is_refused_though_no_image_is(run, pairs, flat):
    root, frame = pairs
    images = np.unique(frame[["path", "pair_path"]])
    first = set(images[::2])
    one = frame[frame["path"].isin(first) & frame["pair_path"].isin(first)]
    other = frame[~frame["path"].isin(first) & ~frame["pair_path"].isin(first)]
    with pytest.raises(InputError, match=r"both halves have person_\d+ and 3 more; make the pairs again"):
        halves_of(run, root, one, other, flat)


def test_an_image_in_both_halves_is_refused(run, pairs):
    root, frame = pairs
    with pytest.raises(InputError, match="both halves have the image"):
        halves_of(
            run, root, frame[["path", "pair_path"]].assign(same=frame["target"] == frame["pair_target"]), frame, False
        )


def test_absolute_paths_are_mapped_under_the_root(run, pairs):
    root, frame = pairs
    frame.assign(path="/old/" + frame["path"], pair_path="/old/" + frame["pair_path"]).to_csv(root / "test.csv")
    halves = {"first": ("test.csv",), "second": ("test.csv",)}
    with pytest.raises(InputError, match="both halves have the image (plain|masked)/"):
        two_folds(TwoFoldSettings(run, root=root, **halves, path_prefix="/old=", device="cpu"))


def test_numbers_of_two_csvs_are_no_names_if_each_person_has_a_folder(run, pairs):
    root, _ = pairs
    halves = []
    for name in ("eval_same.csv", "eval_diff.csv"), ("test.csv",):
        half = pd.concat([pd.read_csv(root / part) for part in name])
        codes = pd.factorize(pd.concat([half["target"], half["pair_target"]]))[0]
        halves.append(half.assign(target=codes[: len(half)], pair_target=codes[len(half) :]))
    halves_of(run, root, *halves, flat=False)
    assert (run / "two_folds.json").is_file()


def test_a_second_test_goes_to_a_folder_of_its_own(run, pairs, tmp_path):
    root, _ = pairs
    halves = {"first": ("eval_same.csv", "eval_diff.csv"), "second": ("test.csv",)}
    plain = two_folds(TwoFoldSettings(run, root=root, **halves, device="cpu"))
    out = tmp_path / "mirrored"
    mirrored = two_folds(TwoFoldSettings(run, root=root, **halves, mirror=True, out=out, device="cpu"))
    assert (plain["mirror"], mirrored["mirror"]) == (False, True)
    for folder, found in ((run, plain), (out, mirrored)):
        assert json.loads((folder / "two_folds.json").read_text()) == found
        assert len(pd.read_csv(folder / "two_folds.csv")) == found["pairs"]


def test_the_names_of_the_people_come_with_the_pairs(pairs):
    root, frame = pairs
    table = read_pair_csvs([root / "test.csv"])
    assert table.names[table.people].tolist() == frame[["target", "pair_target"]].to_numpy().tolist()
    frame.assign(same=1).drop(columns=["target", "pair_target"]).to_csv(root / "same.csv", index=False)
    assert read_pair_csvs([root / "same.csv"]).names is None
