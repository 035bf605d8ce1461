"""The mean of networks: by hand, and as a run that other commands can use."""

import json
import sys

import numpy as np
import pytest
import torch

from models import average as command
from models import network_run
from models.average import AverageSettings, average
from models.trained_model import open_model
from runtime.checkpoints.file import load_checkpoint
from runtime.errors import InputError
from tests.one_line import one_line
from tests.small_run import write_small_run


@pytest.fixture
def runs(tmp_path):
    return tuple(write_small_run(tmp_path / name, seed) for seed, name in enumerate("abc"))


def _weights(folder):
    return {name: tensor.numpy() for name, tensor in load_checkpoint(folder / "best.pt")["model"].items()}


@pytest.mark.parametrize("shares", [(), (0.25, 0.6, 0.15)])
def test_each_weight_and_statistic_is_the_mean(tmp_path, runs, shares):
    average(AverageSettings(runs, tmp_path / "mean", shares))
    found, parts = _weights(tmp_path / "mean"), [_weights(run) for run in runs]
    assert set(found) == set(parts[0])
    for name, values in found.items():
        expected = np.average([part[name] for part in parts], axis=0, weights=shares or None)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_whole_share_of_one_network_is_that_network(tmp_path, runs):
    average(AverageSettings(runs[:2], tmp_path / "same", (0.0, 1.0)))
    images = torch.randn(4, 3, 64, 64)
    opened = [open_model(str(folder)) for folder in (tmp_path / "same", runs[1])]
    assert torch.equal(*(trained.model.eval()(images) for trained in opened))
    assert [trained.threshold for trained in opened] == [None, 1.0], "a threshold is of one network"


def test_the_run_says_what_it_is_made_of(tmp_path, runs, monkeypatch, capsys):
    arguments = [*map(str, runs[:2]), "--shares", "0.25", "0.75", "--out", str(tmp_path / "between")]
    monkeypatch.setattr(sys, "argv", ["average", *arguments])
    command.main()
    assert "the mean of 2 networks is in" in capsys.readouterr().out
    made_of = json.loads((tmp_path / "between" / "config.json").read_text())["settings"]["averaged_from"]
    assert [(part["run"], part["share"]) for part in made_of] == [("a", 0.25), ("b", 0.75)]


@pytest.mark.parametrize(
    ("count", "shares", "said"),
    [
        (1, (), "name two runs or more"),
        (2, (1.0,), "there are 2 runs and 1 shares"),
        (2, (1.5, -0.5), "none may be below 0"),
        (3, (0.5, 0.5, 0.5), "their sum must be 1"),
    ],
)
def test_shares_that_do_not_fit_are_said(tmp_path, runs, count, shares, said):
    with pytest.raises(InputError, match=said):
        average(AverageSettings(runs[:count], tmp_path / "mean", shares))
    assert not (tmp_path / "mean").exists()


def test_networks_that_have_no_mean_are_named(tmp_path, runs):
    other = write_small_run(tmp_path / "other", 5, embedding_size=8)
    larger = write_small_run(tmp_path / "larger", 6, size=80)
    for second, said in ((other, "other.best.pt is of another architecture"), (larger, "needs another input")):
        with pytest.raises(InputError, match=said):
            average(AverageSettings((runs[0], second), tmp_path / "mean"))
    with pytest.raises(InputError, match="there is no checkpoint"):
        average(AverageSettings((runs[0], tmp_path / "none" / "best.pt"), tmp_path / "mean"))
    assert not (tmp_path / "mean").exists()


def test_a_run_is_never_written_over(tmp_path, runs):
    with pytest.raises(InputError, match="exists; set --out to another folder"):
        average(AverageSettings(runs, runs[0]))


def test_a_place_that_takes_no_folder_is_said_before_the_work(tmp_path, runs):
    (tmp_path / "file").touch()
    message = one_line(lambda: average(AverageSettings((runs[0], tmp_path / "none"), tmp_path / "file" / "mean")))
    assert "can't write" in message and "Not a directory" in message and "results_dir" not in message


def test_a_full_disk_leaves_no_run(tmp_path, runs, monkeypatch):
    def fail(*_):
        raise InputError("disk full")

    monkeypatch.setattr(network_run, "save_checkpoint", fail)
    with pytest.raises(InputError, match="disk full"):
        average(AverageSettings(runs, tmp_path / "mean"))
    assert not (tmp_path / "mean").exists()
