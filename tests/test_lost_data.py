"""A script whose data stops coming: a loader's worker is killed, or a disk does not answer."""

import json
import os
import re
import signal
import sys
import traceback
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.data import get_worker_info

from data.datasets import TrainFaces, _ListedFaces
from tests.processes import fresh_processes, start_script

LONG = 240  # seconds until a process counts as hanging
TIMED = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
# Most of such a small run's time.
PICTURES = (
    "eval.after_epoch.EpochReport.draw",
    "eval.after_epoch.plot_distribution",
    "eval.final_test._draw_test",
    "eval.final_test.write_report",
)
# Whose workers are killed, in which method, and when.
DEATHS = {
    "training": (TrainFaces, "_draw", lambda key, face: key.epoch == 2 and key.position >= 16),
    "evaluation": (_ListedFaces, "__getitems__", lambda rows: True),
}


def _script(options, death, changes):
    with pytest.MonkeyPatch.context() as patch, open("said.txt", "w") as said:
        for place, value in changes:
            patch.setattr(place, value)
        for place in PICTURES:
            patch.setattr(place, lambda *_, **__: None)
        if death:
            owner, name, is_time = DEATHS[death]
            real = getattr(owner, name)

            def dying(self, *arguments):
                if get_worker_info() and is_time(*arguments):
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(self, *arguments)

            patch.setattr(owner, name, dying)
        sys.stdout = sys.stderr = said
        try:
            start_script(patch, "main_arcface.py", *options)
        except Exception:
            traceback.print_exc()  # later this stream is closed
            raise


def _run(options, death=None, changes=()):
    """The script in a process of its own, which comes to its end: exit code, and what was said."""
    process = fresh_processes().Process(target=_script, args=(options, death, changes))
    process.start()
    process.join(LONG)
    hanging = process.is_alive()
    process.kill()
    assert not hanging
    return process.exitcode, Path("said.txt").read_text()


def _options(faces, name):
    return [
        "--data-root", faces, "--image-size", 64, "--backbone", "timm:test_efficientnet", "--embedding-size", 16,
        "--batch-size", 8, "--epochs", 2, "--dropout", 0.2, "--device", "cpu", "--run-name", name, "--workers", 2,
    ]  # fmt: skip


def _result(folder):
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    model = torch.load(folder / "last.pt", weights_only=True)["model"]
    return (
        [{name: value for name, value in line.items() if name not in TIMED} for line in log],
        {name: values.tolist() for name, values in model.items()},
        json.loads((folder / "metrics.json").read_text()),
    )


def test_each_killed_worker_ends_the_run_in_one_line_and_the_same_command_ends_it_the_same(
    tmp_path, monkeypatch, drawn_faces
):
    monkeypatch.chdir(tmp_path)
    code, said = _run(_options(drawn_faces, "whole"))
    assert code == 0, said
    options = _options(drawn_faces, "killed")
    for death, place in (("evaluation", "epoch 0 and 5 batches of the next"), ("training", "epoch 1")):
        code, said = _run(options, death)
        assert code == 2, said
        (error,) = [line for line in said.splitlines() if "SIGKILL" in line]
        assert error.startswith("error: worker 0 of the data loader was killed by SIGKILL, as the system does when ")
        assert f"(results/killed: saved after {place}" in error
        assert "Traceback" not in said
    assert "results/killed: resuming after epoch 0 and 5 batches of the next" in said
    code, said = _run(options)
    assert code == 0, said
    assert "results/killed: resuming after epoch 1" in said
    assert _result(Path("results/killed")) == _result(Path("results/whole"))


def test_a_disk_that_does_not_answer_ends_the_run_after_the_time_allowed(tmp_path, monkeypatch, drawn_faces):
    monkeypatch.chdir(tmp_path)
    train = pd.read_csv(drawn_faces / "train.csv")
    (tmp_path / "faces").mkdir()
    for part in ("plain", "masked"):
        (tmp_path / "faces" / part).symlink_to(drawn_faces / part)
    stuck = train["path"][len(train) - 1]
    os.mkfifo(tmp_path / "faces/pipe.jpg")
    train["path"] = train["path"].replace(stuck, "pipe.jpg")
    train.to_csv("faces/train.csv", index=False)
    for name in ("eval_same.csv", "eval_diff.csv", "test.csv"):
        (tmp_path / "faces" / name).symlink_to(drawn_faces / name)
    # The look at some pictures before the start misses the stuck one.
    one = [(f"data.alignment.unaligned.{looked_at}", 1) for looked_at in ("_SIZES", "_FACES")]
    code, said = _run([*_options("faces", "run"), "--data-timeout-minutes", 0.03], changes=one)
    assert code == 2, said
    assert re.search(r"error: no data for .* has been reading pipe.jpg for \d+ s; data_timeout_minutes", said)
    assert "saved after epoch 0" in said
    assert "Traceback" not in said
