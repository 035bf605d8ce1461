"""The folder of one run: settings, log, metrics, plots and checkpoints, under fixed names."""

import errno
import itertools
import json
import platform
import re
import shutil
import sys
import time
import uuid
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING

import torch

from runtime.checkpoints.store import CheckpointStore
from runtime.devices import available_cores
from runtime.errors import InputError, in_one_line
from runtime.files import write_file, writing
from runtime.processes.distributed import from_first, is_first

if TYPE_CHECKING:
    from configs import Settings

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
WITHOUT_EFFECT = {
    "results_dir",
    "resume",
    "workers",
    "data_timeout_minutes",
    "measure_least_face",
    "cache",
    "checkpoint_minutes",
    "keep_checkpoints",
    "tensorboard",
    "profile",
}
# Settings of the machine: they change a run's figures by rounding alone.
OF_THE_MACHINE = {"device", "gpus", "compile", "cuda_graphs", "activation_checkpointing", "deterministic"}


def names_a_run(resume: str) -> bool:
    """Whether the setting is the folder of the run to resume, and not ``auto`` or ``never``."""
    return resume not in ("auto", "never")


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
    def create(cls, results: Path, name: str, settings: dict | None = None, *, numbered: bool = False) -> "RunFolder":
        """Make a new folder, with its config.json if ``settings`` are given; it appears with it or not at all.

        ``numbered``: if the name is taken, it gets a number behind it. Raises InputError if the folder can't be made
        or written, if ``name`` leaves ``results``, or if it is taken.
        """
        if name in ("", ".", "..") or not name.isprintable() or set(name) & {"/", "\\"}:
            raise InputError(f"run_name is {name!r}; it must be a plain name, as the run's folder lies in {results}")
        draft = cls(results / f".{name}.{uuid.uuid4().hex}.making")  # others may make one of the same name
        try:
            draft.path.mkdir(parents=True)
            if settings is not None:
                draft.write_config(settings)
            return cls(_give_name(draft.path, name, numbered))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(f"can't write results to {results / name} ({reason}); set results_dir elsewhere") from None
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)

    def lock(self) -> bool:
        """Hold the run for this process until it ends, however that is; False if another process holds it."""
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
        """Note in config.json that the run is over, and why it stopped early, if it did."""
        self._write("config.json", json.dumps({**_config(self.path), "ended": stopped or "finished"}, indent=2))

    def mark_start(self, settings: "Settings", start: dict | None, precision: str) -> None:
        """Note in config.json, as training starts, its precision and, unless it starts from scratch or is resumed, the
        weights that it starts from.

        If ``settings`` name the run to resume, it takes them, and has not ended.
        """
        config = {**_config(self.path), "precision": precision}
        if names_a_run(settings.resume):
            config["settings"] = {**settings.to_dict(), "resume": config["settings"].get("resume", "auto")}
            config.pop("ended", None)
        if start is not None:
            config.setdefault("started_from", start)
        self._write("config.json", json.dumps(config, indent=2))

    def write_config(self, settings: dict) -> None:
        """config.json: the settings, the command and what it ran on."""
        self._write("config.json", json.dumps({"settings": settings, **environment()}, indent=2))

    def write_log(self, history: list[dict]) -> None:
        """log.jsonl: one line per epoch, always the whole history, so that a resumed run has no line twice."""
        self._write("log.jsonl", "".join(json.dumps(line) + "\n" for line in history))

    def add_skipped(self, step: dict) -> None:
        """skipped_steps.jsonl: one more step without a finite loss, and the images of its batch."""
        before = self.skipped.read_text() if self.skipped.is_file() else ""
        self._write(self.skipped.name, before + json.dumps(step) + "\n")

    def write_metrics(self, metrics: dict) -> None:
        """metrics.json: the test results."""
        self._write("metrics.json", json.dumps(metrics, indent=2))

    def _write(self, name: str, text: str) -> None:
        if is_first():
            write_file(self.path / name, text if text.endswith("\n") or not text else text + "\n")


def open_run(settings: "Settings") -> RunFolder:
    """The folder that a run with these settings writes to, held for this process, as its setting ``resume`` says.

    ``auto``: the newest unfinished run of the same settings in results_dir, or a new one; ``never``: a new one; else
    the folder of the run to resume, whose config.json takes these settings once training starts (``mark_start``). With
    several processes the first one opens it for all. Raises InputError: no such run, another process trains in it, or
    the name of a new one is taken.
    """
    run = _open_run(settings) if is_first() else None
    path = from_first(run and run.path)
    return run or RunFolder(path)


def _open_run(settings: "Settings") -> RunFolder:
    results, name, choice = Path(settings.results_dir), settings.run_name, settings.resume
    if names_a_run(choice):
        return _held(RunFolder(Path(choice)))
    if choice == "auto":
        for run in _unfinished(results, settings):
            if run.lock():
                path = in_one_line(run.path)
                print(f"{path} is unfinished and has these settings: resuming it (for a new run: --resume never)")
                return run
            if name:
                return _held(run)
    made = RunFolder.create(results, name or _default_name(settings), settings.to_dict(), numbered=not name)
    return _held(made)


def _held(run: RunFolder) -> RunFolder:
    read_config(run.path)
    if not run.lock():
        raise InputError(f"another process is training in {run.path}; wait until it ends, or choose another run_name")
    return run


def _unfinished(results: Path, settings: "Settings") -> list[RunFolder]:
    """Runs of the same settings that have not ended, the newest first."""
    wanted = _deciding(settings.to_dict())
    found = []
    for path in results.glob("*/config.json"):
        try:
            config = _config(path.parent)
        except InputError:
            print(in_one_line(f"{path.parent} is skipped: its config.json can't be read"))
            continue
        if "ended" not in config and _deciding(settings.completed(config["settings"])) == wanted:
            found.append((str(config.get("started", "")), path.parent))
    return [RunFolder(path) for _, path in sorted(found, reverse=True)]


def _deciding(settings: dict) -> dict:
    """What makes a run another run; which of the machine's GPUs is free now does not."""
    return {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT | {"gpus"}}


def _default_name(settings: "Settings") -> str:
    """The run's objective, backbone and start: arcface-inception_resnet_v1-2026-11-27_14-59-39."""
    backbone = re.sub(r"[^\w.-]+", "_", settings.backbone)
    return f"{settings.objective}-{backbone}-{time.strftime('%Y-%m-%d_%H-%M-%S')}"


def _give_name(draft: Path, name: str, numbered: bool) -> Path:
    """Rename the draft to ``name`` beside it, or to the first free of name, name_2, …; several processes may try."""
    for number in itertools.count(1):
        path = draft.with_name(name if number == 1 else f"{name}_{number}")
        if _renamed(draft, path):
            break
        if not numbered:
            raise InputError(f"the run {path} exists; choose another run_name, or resume it with --resume {path}")
    return path


def _renamed(draft: Path, path: Path) -> bool:
    """Whether ``path`` was free and is the draft's name now; another process may be faster."""
    try:
        if not path.exists():
            draft.rename(path)
            return True
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    return False


def read_config(run: Path) -> dict:
    """The settings a run was started with. Raises InputError if there is no readable config.json."""
    return _config(run)["settings"]


def read_ended(run: Path) -> str | None:
    """Why training stopped early; None if it finished or has not ended. Raises InputError as ``read_config`` does."""
    reason = _config(run).get("ended")
    return None if reason == "finished" else reason


def _config(run: Path) -> dict:
    path = run / "config.json"
    try:
        config = json.loads(path.read_text() if path.is_file() else "")  # a pipe would keep us waiting
        return {**config, "settings": dict(config["settings"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{run} is not a run folder: it has no readable config.json") from None


def environment() -> dict:
    """Command, versions and hardware, as they are given with every result."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": " ".join(Path(part).name if i == 0 else part for i, part in enumerate(sys.argv)),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "processor": _processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def _version(distribution: str) -> str | None:
    """None if it was installed under another name, as opencv-python for opencv-python-headless."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
