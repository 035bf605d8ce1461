"""The estimate of hours, with a rate that is given."""

import pandas as pd
import pytest

from runtime.errors import InputError
from study import hours
from study.commands import settings_of

PAIRS = pd.DataFrame({"path": ["p/1", "p/2", "p/1"], "pair_path": ["p/3", "p/3", "p/4"], "same": [1, 0, 0]})  # 4 images


@pytest.fixture
def faces(tmp_path):
    """Six plain faces, of which one person has five, and two masked ones."""
    targets, masked = ["a"] * 5 + ["b"] + ["a", "b"], [0] * 6 + [1] * 2
    faces = {"path": [f"{number}.jpg" for number in range(8)], "target": targets, "masked": masked}
    pd.DataFrame(faces).to_csv(tmp_path / "train.csv")
    for name in ("eval_same", "eval_diff", "test"):
        PAIRS.to_csv(tmp_path / f"{name}.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "trained"),
    [
        (["--train-faces", "plain"], 3 * 6),
        (["--train-faces", "masked"], 3 * 2),
        (["--train-faces", "all"], 3 * 8),
        (["--train-faces", "plain", "--most-images", "2"], 3 * 3),
    ],
)
def test_hours_are_those_of_the_faces_of_each_epoch_and_of_its_evaluation(faces, monkeypatch, options, trained):
    monkeypatch.setattr(hours, "_images_per_second", lambda settings: 1 / 3600)  # an image an hour
    command = ["python", "main_arcface.py", "--data-root", faces, "--eval-root", faces, "--epochs", 3, *options]
    # Both halves, four images each here the same, for the run and for the other half: a third of a step each.
    expected = trained + 3 * (2 * 4) / 3
    said = hours.hours_left([[str(word) for word in command]] * 2)
    assert said == f", about {2 * expected:.1f} hours one after another"


@pytest.mark.parametrize("wrong", ["--data-root", "--eval-root"])
def test_a_folder_without_its_csvs_is_named(faces, monkeypatch, wrong):
    monkeypatch.setattr(hours, "_images_per_second", lambda settings: 1.0)
    roots = {"--data-root": faces, "--eval-root": faces, wrong: faces / "elsewhere"}
    command = ["python", "main_arcface.py", *(str(word) for root in roots.items() for word in root)]
    with pytest.raises(InputError, match=r"elsewhere/\w+\.csv is not there"):
        hours.hours_left([command])


def test_nothing_left_takes_no_hours():
    assert hours.hours_left([]) == ""


def test_the_rate_is_that_of_the_network(faces):
    command = ["python", "main_arcface.py", "--backbone", "timm:test_resnet", "--image-size", "64", "--device", "cpu"]
    settings = settings_of([*command, "--embedding-size", "8"])
    assert 1 < hours._images_per_second(settings) < 1e6
