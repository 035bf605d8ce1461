"""Compare runs killed with SIGKILL at random moments and resumed with uninterrupted runs: are they bit-identical?

    python -m benchmarks.kill [--quick] [--check] [--json FILE]

Both scripts train a small network on a few drawn faces and save after each step. Of four kills one comes in a step, one
while a checkpoint is being written, one in an evaluation, each up to a tenth of a second after it has begun, and one at
any moment. Where a run ends before all kills are used up, the next begins with another seed. Compared at the end: the
weights of best.pt and last.pt, class centres, the optimiser's state, metrics.json and the log's lines, all but times
and speeds.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import runpy
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

import train
from benchmarks.harness.table import Options, Report, run_command
from data.synthetic import FaceSet, make_faces
from eval.after_epoch import EpochReport
from runtime.checkpoints import store as checkpoint_store

ROOT = Path(__file__).resolve().parent.parent
FACES = FaceSet(
    train_people=6, eval_people=4, test_people=4, images_per_person=3, seed=5, size=64, eval_pairs=40, test_pairs=40
)
SMALL = [
    *("--image-size", "64", "--backbone", "timm:mobilenetv3_small_050", "--embedding-size", "32", "--dropout", "0.2"),
    *("--mask-probability", "0.5", "--workers", "0", "--checkpoint-minutes", "0", "--run-name", "run"),
]
OBJECTIVES = {
    "main_arcface.py": ["--batch-size", "8"],
    "main_triplet.py": ["--people-per-batch", "2", "--images-per-person", "4"],
}
# Where a kill strikes: shortly after the run has begun one of these calls. Anywhere else, reading and testing
# included: at a random time.
CALLS = {
    "step": (train, "_step"),
    "save": (checkpoint_store, "save_checkpoint"),
    "evaluation": (EpochReport, "__call__"),
}
MOMENTS = ("anywhere", *CALLS)
TIMES = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}
# The scripts, and what they import once they run.
PRELOADED = ("main_arcface", "main_triplet", "torch._dynamo", "timm", "sklearn.metrics")
LATEST_CALL = 3  # of the chosen kind that a kill waits for, so that the run gets on between two kills
LONGEST_INSIDE = 0.1  # seconds from the beginning of the call to the kill
LONGEST = 3.0  # seconds from the start to a kill that waits for no call


@dataclass
class Tally:
    """The runs of one script."""

    kills: int = 0
    runs: int = 0
    steps: int = 0  # kills in a step, or just after it
    saves: int = 0  # in a save
    evaluations: int = 0  # in an evaluation
    half_written: int = 0  # kills that left a half-written file
    unequal: int = 0
    failed: int = 0  # runs that could not go on


# ==== one run, in peace or killed ====


def options_of(script: str, faces: Path, epochs: int, seed: int) -> list[str]:
    """The command line of a small run."""
    return ["--data-root", str(faces), "--epochs", str(epochs), "--seed", str(seed), *SMALL, *OBJECTIVES[script]]


def run_in_peace(script: str, options: list[str], folder: Path) -> None:
    """An interpreter of its own, as a user starts it, with its own order of hashes."""
    command = [sys.executable, str(ROOT / script), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def run_killed(script: str, options: list[str], folder: Path, kills: int, rng: random.Random, tally: Tally) -> None:
    """Start, kill, start again, until the run has ended; after ``kills`` of them it is left alone."""
    context = multiprocessing.get_context("forkserver")  # new processes find all modules imported
    context.set_forkserver_preload([*PRELOADED])
    left = kills
    while True:
        moment, begun = MOMENTS[left % len(MOMENTS)], context.Event()
        strike = (moment, rng.randint(1, LATEST_CALL), begun) if left and moment in CALLS else None
        child = context.Process(target=_run_script, args=(script, options, str(folder), strike))
        child.start()
        if left:
            _wait_for(begun if strike else None, child, rng)
        else:
            child.join()
        if not child.is_alive():
            tally.failed += child.exitcode != 0
            return
        child.kill()
        child.join()
        left -= 1
        tally.kills += 1
        tally.half_written += any(folder.glob("results/run/**/.*.tmp"))
        if strike:
            setattr(tally, f"{moment}s", getattr(tally, f"{moment}s") + 1)


def _run_script(script: str, options: list[str], folder: str, strike: tuple[str, int, Event] | None) -> None:
    os.chdir(folder)
    torch.set_num_threads(1)
    if strike:
        _announce(*strike)
    sys.argv = [script, *options]
    with open("said.txt", "a") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        runpy.run_path(str(ROOT / script), run_name="__main__")


def _announce(moment: str, number: int, begun: Event) -> None:
    """Set ``begun`` at the beginning of the moment's ``number``-th call."""
    owner, name = CALLS[moment]
    real, calls = getattr(owner, name), itertools.count(1)

    def announced(*arguments: object, **named: object) -> object:
        if next(calls) == number:
            begun.set()
        return real(*arguments, **named)

    setattr(owner, name, announced)


def _wait_for(begun: Event | None, child: BaseProcess, rng: random.Random) -> None:
    """Until a moment inside the call, or until any; or until the child has ended before it."""
    while begun and child.is_alive() and not begun.wait(0.01):
        pass
    child.join(rng.uniform(0, LONGEST_INSIDE if begun else LONGEST))


# ==== equal? ====


def differences(run: Path, other: Path) -> list[str]:
    """The differences between two finished runs, apart from times."""
    found = []
    if _log(run) != _log(other):
        found.append("log.jsonl")
    if (run / "metrics.json").read_text() != (other / "metrics.json").read_text():
        found.append("metrics.json")
    for name in ("best.pt", "last.pt"):
        ends = [torch.load(folder / name, weights_only=True) for folder in (run, other)]
        parts = ("model", "criterion", "optimiser", "scheduler", "rng", "images_seen")
        found += [f"{name}: {part}" for part in parts if not _equal(ends[0][part], ends[1][part])]
    return found


def _log(run: Path) -> list[dict]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def _equal(one: object, two: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_equal, one, two))
    return one == two


def kill_and_compare(script: str, faces: Path, folder: Path, *, kills: int, epochs: int, seed: int) -> Tally:
    """As many runs as ``kills`` are good for, each beside one left in peace."""
    tally, rng = Tally(), random.Random(seed)
    while tally.kills < kills and not tally.failed:
        options = options_of(script, faces, epochs, seed + tally.runs)
        folders = [folder / f"{script}_{tally.runs}_{kind}" for kind in ("peace", "killed")]
        for each in folders:
            each.mkdir(parents=True)
        run_in_peace(script, options, folders[0])
        run_killed(script, options, folders[1], kills - tally.kills, rng, tally)
        tally.runs += 1
        if not tally.failed:
            wrong = differences(folders[0] / "results/run", folders[1] / "results/run")
            tally.unequal += bool(wrong)
            print(f"{script}, seed {seed + tally.runs - 1}: {', '.join(wrong) or 'equal'}", file=sys.stderr, flush=True)
        else:
            print((folders[1] / "said.txt").read_text()[-2000:], file=sys.stderr)
    return tally


def main(options: Options) -> int:
    """Both scripts, 25 kills each."""
    report = Report("kill")
    with tempfile.TemporaryDirectory() as scratch:
        faces = Path(scratch) / "faces"
        make_faces(faces, FACES)
        for script in OBJECTIVES:
            tally = kill_and_compare(script, faces, Path(scratch), kills=4 if options.quick else 25, epochs=5, seed=0)
            report.add(script=script, **vars(tally))
            report.at_least(f"{script}: kills", tally.kills, 4 if options.quick else 25)
            for moment in CALLS:
                report.at_least(f"{script}: kills in {moment}s", vars(tally)[f"{moment}s"], 1 if options.quick else 5)
            report.at_most(f"{script}: runs that differ from one left in peace", tally.unequal, 0)
            report.at_most(f"{script}: runs that could not go on", tally.failed, 0)
    report.note(
        f"steps, saves, evaluations: kills up to {LONGEST_INSIDE} s after one has begun; half_written: kills that left "
        "a half-written file"
    )
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, Options, __doc__)
