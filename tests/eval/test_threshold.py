"""Thresholds chosen and stored by eval.threshold; the same on packs: test_packs."""

import shutil
import sys

import pandas as pd
import pytest

from eval import threshold as command
from models.export.__main__ import ExportSettings, export
from runtime.errors import InputError
from tests.small_run import write_small_run


@pytest.fixture
def faces(drawn_faces, tmp_path):
    return shutil.copytree(drawn_faces, tmp_path / "faces")


def test_rows_that_do_not_count_are_named_and_a_lost_image_is_tolerated(faces, tmp_path, monkeypatch, capsys):
    run = write_small_run(tmp_path / "run")
    rows = pd.concat([pd.read_csv(faces / name) for name in ("test.csv", "eval_same.csv", "eval_diff.csv")])
    rows = pd.concat([rows, rows[:1]])
    rows.to_csv(tmp_path / "pairs.csv", index=False)
    gone = rows["path"].iloc[0]
    lost = int(((rows["path"] == gone) | (rows["pair_path"] == gone)).sum()) - 1
    (faces / gone).unlink()
    monkeypatch.setattr(sys, "argv", ["threshold", str(run), str(tmp_path / "pairs.csv"), "--root", str(faces)])
    command.main()
    printed = capsys.readouterr().out
    assert f"on {len(rows) - 1 - lost} evaluation pairs" in printed
    assert f"{lost + 1} pairs left out: " in printed and "1 × a pair listed before" in printed
    assert f"{lost} × missing image" in printed


def test_pairs_of_one_kind_and_no_readable_pair_are_refused(faces, tmp_path):
    run = write_small_run(tmp_path / "run")
    settings = command.ThresholdSettings(run, (faces / "eval_same.csv",), faces, device="cpu")
    with pytest.raises(InputError, match="pairs are of one kind"):
        command.store_threshold(settings)
    for image in faces.rglob("*.jpg"):
        image.write_bytes(b"no image")
    with pytest.raises(InputError, match="not one of 20 pairs has two readable images"):
        command.store_threshold(settings)


def test_a_file_of_weights_is_refused_before_anything_is_embedded(faces, tmp_path, monkeypatch):
    weights, _ = export(ExportSettings(str(write_small_run(tmp_path / "run")), "safetensors"))
    monkeypatch.setattr(command, "open_pair_evaluator", lambda *_, **__: pytest.fail("hours later"))
    with pytest.raises(InputError, match="safetensors holds weights alone, .*: python -m models.import_weights"):
        command.store_threshold(command.ThresholdSettings(weights, (faces / "test.csv",), faces, device="cpu"))
