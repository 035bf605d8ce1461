"""The folder of one run: settings, log, metrics, plots and checkpoints, under fixed names."""

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from runtime.errors import InputError
from runtime.files import replace_file

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "facenet-pytorch",
    "efficientnet-pytorch",
    "numpy",
    "opencv-python-headless",
)


class RunFolder:
    """``results/<run>/`` with config.json, log.jsonl, metrics.json, best.pt, last.pt and the plots."""

    def __init__(self, path: Path):
        self.path = path
        self.best = path / "best.pt"
        self.last = path / "last.pt"

    @classmethod
    def create(cls, results: Path, name: str) -> "RunFolder":
        """Make a new folder; an empty ``name`` becomes the date and time.

        Raises InputError where it can't be made or written, or where the name is taken.
        """
        path = results / (name or time.strftime("%Y-%m-%d_%H-%M-%S"))
        try:
            path.mkdir(parents=True)
            probe = path / ".probe"
            probe.touch()
            probe.unlink()
        except FileExistsError:
            raise InputError(f"the run {path} exists; choose another run_name, or go on with --resume {path}") from None
        except OSError as error:
            raise InputError(f"can't write results to {path} ({error.strerror}); set results_dir elsewhere") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run, to go on with. Raises InputError where there is none."""
        if not (path / "last.pt").is_file():
            raise InputError(f"there is nothing to resume in {path}: it has no last.pt")
        return cls(path)

    def write_config(self, settings: dict) -> None:
        """config.json: the settings, the command and what it ran on."""
        self._write("config.json", json.dumps({"settings": settings, **environment()}, indent=2))

    def write_log(self, history: list[dict]) -> None:
        """log.jsonl: one line an epoch, always the whole history, so that a resumed run has no line twice."""
        self._write("log.jsonl", "".join(json.dumps(line) + "\n" for line in history))

    def write_metrics(self, metrics: dict) -> None:
        """metrics.json: the test figures."""
        self._write("metrics.json", json.dumps(metrics, indent=2))

    def _write(self, name: str, text: str) -> None:
        with replace_file(self.path / name) as temporary:
            temporary.write_text(text if text.endswith("\n") or not text else text + "\n")


def read_config(run: Path) -> dict:
    """The settings a run was started with. Raises InputError where there is no readable config.json."""
    try:
        return json.loads((run / "config.json").read_text())["settings"]
    except (OSError, ValueError, KeyError):
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
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
