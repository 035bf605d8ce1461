"""Both scripts under torchrun: two processes on one machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eval import verify

ROOT = Path(__file__).parent.parent
TIMED = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
OPTIONS = {
    "main_arcface.py": ["--batch-size", 12, "--shard-classes", "--frequency-weights", "inverse_log"],
    "main_triplet.py": ["--people-per-batch", 4, "--images-per-person", 3],
}
PARTS = ["--accumulate-steps", 2, "--clip-grad-norm", 1.0, "--ema-decay", 0.9]
DYING = """
import os, runpy, signal, sys
from losses import ArcFaceLoss

real, calls = ArcFaceLoss.forward, []

def forward(self, *batch):
    calls.append(batch)
    if len(calls) == 8 and (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *batch)

ArcFaceLoss.forward = forward
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def torchrun(folder: Path, script: str, faces: Path, *options: object, before: tuple[object, ...] = ()) -> str:
    """Run in ``folder`` to the end; what was said on both streams."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--max-restarts", 1,
        *before, ROOT / script, "--data-root", faces, "--image-size", 64, "--backbone", "timm:mobilenetv3_small_050",
        "--embedding-size", 32, "--workers", 0, "--device", "cpu", *OPTIONS[script], *options,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def log(run: Path) -> list[dict]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def test_a_killed_process_is_started_again_and_the_run_ends_the_same(tmp_path, drawn_faces):
    (tmp_path / "dying.py").write_text(DYING)
    both = ["--epochs", 3, "--dropout", 0.2, "--run-name"]
    torchrun(tmp_path, "main_arcface.py", drawn_faces, *both, "whole")
    said = torchrun(
        tmp_path, "main_arcface.py", drawn_faces, *both, "killed", "--checkpoint-minutes", 0,
        before=(tmp_path / "dying.py",),
    )  # fmt: skip
    assert "going on after epoch 1 and 2 batches of the next" in said
    whole, killed = (tmp_path / "results" / name for name in ("whole", "killed"))
    assert log(killed) == log(whole) and len(log(whole)) == 3
    ends = [torch.load(run / "last.pt", weights_only=True) for run in (whole, killed)]
    for part in ("model", "criterion"):
        assert all(torch.equal(ends[0][part][k], ends[1][part][k]) for k in ends[0][part])
    assert ends[0]["criterion"]["weight"].shape == (6, 32)  # all identities, not one process's
    assert json.loads((killed / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())


def test_two_processes_mine_over_the_whole_batch_and_write_one_run(tmp_path, drawn_faces):
    said = torchrun(tmp_path, "main_triplet.py", drawn_faces, "--epochs", 1, "--run-name", "two", *PARTS)
    run = tmp_path / "results" / "two"
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
