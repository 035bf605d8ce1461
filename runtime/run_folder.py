"""The folder of one run: settings, log, metrics, plots and checkpoints, under fixed names."""

import itertools
import json
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import IO

import torch

from runtime.checkpoints.store import CheckpointStore
from runtime.devices import available_cores
from runtime.errors import InputError
from runtime.files import write_file, writing
from runtime.processes.distributed import from_first, is_first

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two processes from one run there
    fcntl = None

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "facenet-pytorch",
    "efficientnet-pytorch",
    "numpy",
    "opencv-python-headless",
)


# Settings that change no figure: a run that differs in them alone is the same run.
WITHOUT_EFFECT = {"results_dir", "resume", "workers", "cache", "checkpoint_minutes", "keep_checkpoints", "tensorboard"}


class RunFolder:
    """``results/<run>/`` with config.json, log.jsonl, metrics.json, best.pt, last.pt, checkpoints/ and the plots."""

    def __init__(self, path: Path):
        self.path = path
        self.best = path / "best.pt"
        self.last = path / "last.pt"
        self.skipped = path / "skipped_steps.jsonl"
        self.store = CheckpointStore(path / "checkpoints", owner=path / "config.json")
        self._lock: IO | None = None

    @classmethod
    def create(cls, results: Path, name: str, settings: dict | None = None) -> "RunFolder":
        """Make a new folder, with its config.json where ``settings`` are given; it appears with it or not at all.

        An empty ``name`` becomes the date and time. Raises InputError where it can't be made or written, where the
        name is taken, or where it is no plain name, by which it would leave ``results``.
        """
        if name and (name in (".", "..") or not name.isprintable() or set(name) & {"/", "\\"}):
            raise InputError(f"run_name is {name!r}; give a plain name, the run's folder in {results}")
        path = results / (name or _free_name(results, time.strftime("%Y-%m-%d_%H-%M-%S")))
        draft = cls(path.with_name(f".{path.name}.{os.getpid()}.making"))
        try:
            if path.exists():
                raise InputError(f"the run {path} exists; choose another run_name, or go on with --resume {path}")
            draft.path.mkdir(parents=True)
            if settings is not None:
                draft.write_config(settings)
            draft.path.rename(path)
        except OSError as error:
            raise InputError(f"can't write results to {path} ({error.strerror}); set results_dir elsewhere") from None
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)
        return cls(path)

    def lock(self) -> bool:
        """Hold the run for this process until it ends, however that is; False where another process holds it."""
        with writing(self.path / ".lock"):
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115  it stays open
        if fcntl is None:
            return True
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process: workers don't inherit it
        except OSError:
            return False
        for left_by_a_kill in [*self.path.glob(".*.tmp"), *self.store.folder.glob(".*.tmp")]:
            left_by_a_kill.unlink()
        return True

    @property
    def ended(self) -> bool:
        """Whether training is over, by its last epoch or by a stop that the same settings would only repeat."""
        return "ended" in _config(self.path)

    def mark_ended(self, stopped: str | None) -> None:
        """Into config.json: that the run is over, and why it stopped early, if it did."""
        self._write("config.json", json.dumps({**_config(self.path), "ended": stopped or "finished"}, indent=2))

    def write_config(self, settings: dict) -> None:
        """config.json: the settings, the command and what it ran on."""
        self._write("config.json", json.dumps({"settings": settings, **environment()}, indent=2))

    def write_log(self, history: list[dict]) -> None:
        """log.jsonl: one line an epoch, always the whole history, so that a resumed run has no line twice."""
        self._write("log.jsonl", "".join(json.dumps(line) + "\n" for line in history))

    def add_skipped(self, step: dict) -> None:
        """skipped_steps.jsonl: one more step without a finite loss, and the images of its batch."""
        before = self.skipped.read_text() if self.skipped.is_file() else ""
        self._write(self.skipped.name, before + json.dumps(step) + "\n")

    def write_metrics(self, metrics: dict) -> None:
        """metrics.json: the test figures."""
        self._write("metrics.json", json.dumps(metrics, indent=2))

    def _write(self, name: str, text: str) -> None:
        if is_first():
            write_file(self.path / name, text if text.endswith("\n") or not text else text + "\n")


def open_run(settings: dict) -> RunFolder:
    """The folder that a run with these settings writes to, held for this process, as its setting ``resume`` says.

    ``auto``: the newest unfinished run of the same settings in results_dir, or a new one; ``never``: a new one; else
    the folder of the run to go on with. With several processes the first one opens it for all. Raises InputError: no
    such run, another process trains in it, or the name of a new one is taken.
    """
    run = _open_run(settings) if is_first() else None
    path = from_first(run and run.path)
    return run or RunFolder(path)


def _open_run(settings: dict) -> RunFolder:
    results, name, choice = Path(settings["results_dir"]), settings["run_name"], settings["resume"]
    if choice not in ("auto", "never"):
        return _held(RunFolder(Path(choice)))
    if choice == "auto":
        for run in _unfinished(results, settings):
            if run.lock():
                print(f"{run.path} is unfinished and has these settings: going on with it (anew: --resume never)")
                return run
            if name:
                return _held(run)
    return _held(RunFolder.create(results, name, settings))


def _held(run: RunFolder) -> RunFolder:
    read_config(run.path)
    if not run.lock():
        raise InputError(f"another process is training in {run.path}; wait for its end, or choose another run_name")
    return run


def _unfinished(results: Path, settings: dict) -> list[RunFolder]:
    """Runs of the same settings that have not ended, the newest first."""
    wanted = _deciding(settings)
    found = []
    for path in results.glob("*/config.json"):
        try:
            config = _config(path.parent)
        except InputError:
            continue  # another program's folder
        if "ended" not in config and _deciding(config["settings"]) == wanted:
            found.append((config.get("started", ""), path.parent))
    return [RunFolder(path) for _, path in sorted(found, reverse=True)]


def _deciding(settings: dict) -> dict:
    return {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}


def _free_name(results: Path, name: str) -> str:
    """``name``, or with a number behind it where two runs begin in the same second."""
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if not (results / each).exists())


def read_config(run: Path) -> dict:
    """The settings a run was started with. Raises InputError where there is no readable config.json."""
    return _config(run)["settings"]


def _config(run: Path) -> dict:
    try:
        config = json.loads((run / "config.json").read_text())
        return {**config, "settings": dict(config["settings"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{run} is no run folder: it has no readable config.json") from None


def environment() -> dict:
    """Command, versions and hardware, as they stand beside every figure."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": " ".join(Path(part).name if i == 0 else part for i, part in enumerate(sys.argv)),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "processor": _processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
