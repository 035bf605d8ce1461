"""Run folders made by version 0.1 (commit 3fa7762) stay resumable, verifiable and exportable.

Both were trained on the faces of the fixture ``drawn_faces``, given as ``--data-root faces``: one was stopped after its
first epoch of three, one is finished.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from eval.embed import Embedder
from eval.verify import VerifySettings, verify
from models.export.__main__ import ExportSettings, export
from tests.processes import start_script

FROZEN = Path(__file__).parent / "frozen"
NAMES = ["arcface_interrupted", "triplet_finished"]


@pytest.fixture
def frozen(tmp_path, drawn_faces):
    """The folder of the copies, from which ``faces`` is seen."""
    shutil.copytree(FROZEN, tmp_path / "results")
    (tmp_path / "faces").symlink_to(drawn_faces)
    return tmp_path


def test_an_interrupted_run_is_resumed_and_ends(frozen, monkeypatch):
    run = frozen / "results" / "arcface_interrupted"
    before = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    monkeypatch.chdir(frozen)
    start_script(monkeypatch, "main_arcface.py", "--resume", run)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert log[:1] == before
    assert json.loads((run / "metrics.json").read_text())["epoch"] in (1, 2, 3)
    # It did not ask for what was added since.
    assert "least_face" not in torch.load(run / "best.pt", weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_verified_and_embeds(frozen, name):
    run = frozen / "results" / name
    figures = verify(VerifySettings(str(run), frozen / "faces" / "test.csv", root=frozen / "faces"))
    assert figures["pairs"] == 40
    if name == "triplet_finished":
        published = json.loads((run / "metrics.json").read_text())
        assert figures["accuracy"] == pytest.approx(
            published["accuracy"], abs=0.03
        )  # another processor rounds otherwise
    assert Embedder(str(run)).threshold == torch.load(run / "best.pt", weights_only=True)["threshold"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_exported(frozen, name):
    out, difference = export(ExportSettings(str(frozen / "results" / name), format="safetensors"))
    assert out.is_file() and difference <= 1e-4
