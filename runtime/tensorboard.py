"""Curves, histograms and a batch's faces for TensorBoard beside log.jsonl: ``tensorboard --logdir results``."""

import importlib.util
import threading
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor

from runtime.errors import InputError
from runtime.files import writing

STEPS_BETWEEN_POINTS = 10
# Images of a previewed batch.
PREVIEWED = 32


def check_tensorboard() -> None:
    """Raises InputError if it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("tensorboard is not installed: pip install -r requirements-extras.txt, or set it off")


class Board:
    """The curves and pictures of one run, in the folder ``tensorboard`` of its own; several may write there.

    What is shown is written in the background: a call raises InputError if the disk took no more of those before.
    """

    def __init__(self, run: Path):
        from torch.utils.tensorboard import SummaryWriter  # an import of seconds that few runs need

        _print_no_errors_of_writers()
        self._folder = run / "tensorboard"
        with writing(self._folder):
            self._writer = SummaryWriter(str(self._folder))

    def step(self, step: int, figures: dict[str, float]) -> None:
        """Figures of a training step, of which every tenth is kept."""
        if step % STEPS_BETWEEN_POINTS == 0:
            self._add("step", step, figures)

    def epoch(self, step: int, line: dict) -> None:
        """The line of an epoch, at the step that it ended with."""
        self._add("epoch", step, line)
        with writing(self._folder):
            self._writer.flush()

    def batch(self, step: int, images: Tensor) -> None:
        """The first faces of a training batch, uint8 (B, H, W, 3), as the network gets them."""
        with writing(self._folder):
            self._writer.add_images("batch", images[:PREVIEWED], step, dataformats="NHWC")

    def histograms(self, step: int, values: dict[str, np.ndarray]) -> None:
        """A histogram for each name, of values (N,)."""
        with writing(self._folder):
            for name, numbers in values.items():
                self._writer.add_histogram(name, numbers, step)
            self._writer.flush()

    def _add(self, group: str, step: int, figures: dict) -> None:
        with writing(self._folder):
            for name, value in figures.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{group}/{name}", value, step)


@cache
def _print_no_errors_of_writers() -> None:
    """TensorBoard's writing thread keeps its error for the next call of the board, which raises it: Python need not
    print it as well, with a traceback."""
    print_error = threading.excepthook

    def leave_out_writers(error: threading.ExceptHookArgs) -> None:
        if not type(error.thread).__module__.startswith("tensorboard."):
            print_error(error)

    threading.excepthook = leave_out_writers
