"""Where a step's time goes: waiting for data, forward, loss, backward, optimiser, and between steps."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.profiler import record_function

PARTS = ("data", "forward", "loss", "backward", "optimiser", "between")
STEP = "step "  # name of a whole step's range in a trace, followed by its number

T = TypeVar("T")


class PartTimer:
    """Marks the time at which each part of a step begins, without changes to the training loop.

    The network, which may be compiled, gets no hooks: forward is everything from a batch's arrival to the loss,
    backward everything from the loss to the optimiser. On a GPU a mark is an event in its stream, which delays nothing
    and records when the GPU got there. In a trace of torch's profiler each part is a range with its name.
    """

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, torch.cuda.Event | float]] = []
        self._range: record_function | None = None

    @contextmanager
    def attached(self, criterion: nn.Module, optimiser: Optimizer) -> Iterator[None]:
        """Within this context, loss, backward, optimiser and between are marked."""
        hooks = [
            criterion.register_forward_pre_hook(lambda *_: self.begin("loss")),
            criterion.register_forward_hook(lambda *_: self.begin("backward")),
            optimiser.register_step_pre_hook(lambda *_: self.begin("optimiser")),
            optimiser.register_step_post_hook(lambda *_: self.begin("between")),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def over(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches, none of them None. Waiting for one counts as data; after that, forward begins."""
        batches = iter(batches)
        for number in count(1):
            self.begin("data")
            batch = next(batches, None)
            self.end()
            if batch is None:
                return
            with record_function(f"{STEP}{number}"):
                self.begin("forward")
                yield batch
                self.end()

    def begin(self, part: str) -> None:
        """End the current part and begin another."""
        self._mark(part)
        self._range = record_function(part)
        self._range.__enter__()

    def end(self) -> None:
        """End the current part."""
        self._mark("")

    def restart(self) -> None:
        """Discard all marks so far."""
        self._marks.clear()

    @property
    def steps(self) -> int:
        """Number of steps begun."""
        return sum(name == "forward" for name, _ in self._marks)

    def milliseconds(self) -> dict[str, float]:
        """Mean time of each part in a step. The GPU must have finished."""
        sums = defaultdict(float)
        for (name, earlier), (_, later) in zip(self._marks, self._marks[1:], strict=False):
            sums[name] += earlier.elapsed_time(later) if self._on_gpu else 1000 * (later - earlier)
        return {name: sums[name] / max(1, self.steps) for name in PARTS}

    def _mark(self, name: str) -> None:
        if self._range:
            self._range.__exit__(None, None, None)
            self._range = None
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))
