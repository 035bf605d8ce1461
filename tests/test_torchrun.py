"""Both scripts under torchrun: two processes on one machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eval import verify
from tests.processes import ROOT, script_in_processes

TIMED = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
OPTIONS = {
    "main_arcface.py": ["--batch-size", 12, "--shard-classes", "--frequency-weights", "inverse_log"],
    "main_triplet.py": ["--people-per-batch", 4, "--images-per-person", 3],
}
PARTS = ["--accumulate-steps", 2, "--clip-grad-norm", 1.0, "--ema-decay", 0.9]
DYING = """
import os, runpy, signal, sys
from data.datasets import TrainFaces
from losses import ArcFaceLoss
from torch.utils.data import get_worker_info

forward, draw, calls = ArcFaceLoss.forward, TrainFaces._draw, []

def die_in_life(number):
    if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", number):
        os.kill(os.getpid(), signal.SIGKILL)

def forward_or_die(self, *batch):
    calls.append(batch)
    if len(calls) == 8:
        die_in_life("0")
    return forward(self, *batch)

def draw_or_die(self, key, face):
    if get_worker_info() and key.epoch == 3:
        die_in_life("1")
    return draw(self, key, face)

ArcFaceLoss.forward, TrainFaces._draw = forward_or_die, draw_or_die
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def options(script: str, faces: Path, *more: object) -> list[str]:
    return [
        "--data-root", faces, "--image-size", 64, "--backbone", "timm:mobilenetv3_small_050", "--embedding-size", 32,
        "--workers", 0, "--device", "cpu", *OPTIONS[script], *more,
    ]  # fmt: skip


def torchrun(*arguments: object) -> str:
    """Two processes, started again up to twice where one fails; what was said on both streams."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*map(str, command), "--max-restarts", "2", *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def log(run: Path) -> list[dict]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def test_after_a_killed_process_and_a_killed_loader_worker_the_run_ends_the_same(tmp_path, monkeypatch, drawn_faces):
    monkeypatch.chdir(tmp_path)
    Path("dying.py").write_text(DYING)
    script = ROOT / "main_arcface.py"
    both = options("main_arcface.py", drawn_faces, "--epochs", 3, "--dropout", 0.2)
    script_in_processes(2, script, *both, "--run-name", "whole")
    said = torchrun("dying.py", script, *both, "--run-name", "killed", "--checkpoint-minutes", 0, "--workers", 1)
    assert "resuming after epoch 1 and 2 batches of the next" in said
    assert said.count("error: worker 0 of the data loader was killed by SIGKILL") == 1
    assert "resuming after epoch 2\n" in said
    whole, killed = Path("results/whole"), Path("results/killed")
    assert log(killed) == log(whole) and len(log(whole)) == 3
    ends = [torch.load(run / "last.pt", weights_only=True) for run in (whole, killed)]
    for part in ("model", "criterion"):
        assert all(torch.equal(ends[0][part][k], ends[1][part][k]) for k in ends[0][part])
    assert ends[0]["criterion"]["weight"].shape == (6, 32)  # all identities, not one process's
    assert json.loads((killed / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())


def test_two_processes_mine_over_the_whole_batch_and_write_one_run(tmp_path, monkeypatch, drawn_faces):
    monkeypatch.chdir(tmp_path)
    more = ["--epochs", 1, "--run-name", "two", *PARTS]
    said = script_in_processes(2, ROOT / "main_triplet.py", *options("main_triplet.py", drawn_faces, *more))
    run = Path("results/two")
    (line,) = log(run)
    assert line["images_seen"] == 3 * 12  # ⌈36 images / 12⌉ batches of 12, of which each process had 6
    assert line["triplets"] == 12 * 2  # positive pairs of 4 people × 3 images: of the whole batch
    assert said.count("test accuracy") == 1
    assert not [path for path in run.rglob("*") if path.suffix in (".tmp", ".making", ".damaged")]

    # One process that tests the checkpoint comes to the figures that two came to.
    metrics = json.loads((run / "metrics.json").read_text())
    again = verify.verify(verify.VerifySettings(model=str(run), pairs=drawn_faces / "test.csv", root=drawn_faces))
    assert again["accuracy"] == pytest.approx(metrics["accuracy"])
    assert again["auc"] == pytest.approx(metrics["auc"])


def test_two_processes_share_a_sampled_head_that_one_process_goes_on_with(tmp_path, monkeypatch, drawn_faces):
    monkeypatch.chdir(tmp_path)
    script = ROOT / "main_arcface.py"
    more = ["--epochs", 2, "--optimiser", "sgd", "--sampled-share", 0.5, "--sub-centres", 2, "--clip-grad-norm", 5.0]
    run_name = ["--run-name", "sampled", "--margin-kind", "cosface"]
    every_step = ["--checkpoint-minutes", 0, "--keep-checkpoints", 9]
    arguments = options("main_arcface.py", drawn_faces, *more, *run_name, *every_step)
    script_in_processes(2, script, *arguments)
    run = Path("results/sampled")
    before = log(run)
    assert torch.load(run / "last.pt", weights_only=True)["criterion"]["weight"].shape == (12, 32)

    # As if the run had been cut off in its second epoch.
    config = json.loads((run / "config.json").read_text())
    del config["ended"]
    (run / "config.json").write_text(json.dumps(config))
    for path in (run / "checkpoints").iterdir():
        if path.name >= "epoch0001_batch000003":
            path.unlink()
    said = script_in_processes(1, script, *arguments)
    assert "resuming after epoch 1 and 2 batches of the next" in said
    after = log(run)
    assert len(after) == 2 and after[0] == before[0]
    assert after[1]["images_seen"] == before[1]["images_seen"]
