"""Where a step's time goes: waiting for data, forward, loss, backward, optimiser, and what lies between."""

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
STEP = "step "  # what the range of a whole step is called in a trace, before its number

T = TypeVar("T")


class PartTimer:
    """Marks of time where a part of a step begins, in a loop that knows nothing of them.

    Nothing hangs on the network, which may be compiled: forward is all from a batch's arrival to the loss, backward all
    from the loss to the optimiser. On a GPU a mark is an event in its stream: it holds nothing up, and says when the
    GPU was there. In a trace of torch's profiler each part is a range of its name.
    """

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, torch.cuda.Event | float]] = []
        self._range: record_function | None = None

    @contextmanager
    def attached(self, criterion: nn.Module, optimiser: Optimizer) -> Iterator[None]:
        """Inside, their steps are marked: loss, backward, optimiser, between."""
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
        """The batches, none of them None: until one is there it is data, from then on forward."""
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
        """Here the part under way ends, and another begins."""
        self._mark(part)
        self._range = record_function(part)
        self._range.__enter__()

    def end(self) -> None:
        """Here the part under way ends."""
        self._mark("")

    def restart(self) -> None:
        """Forget what was marked so far."""
        self._marks.clear()

    @property
    def steps(self) -> int:
        """How many were begun."""
        return sum(name == "forward" for name, _ in self._marks)

    def milliseconds(self) -> dict[str, float]:
        """Of each part in a step, on average. The GPU must have finished."""
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
